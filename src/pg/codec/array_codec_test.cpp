#include "pg/codec/array_codec.h"

#include <gtest/gtest.h>

namespace tailrace::pg::codec {
namespace {

using Event = ArrayTextReader::Event;

// Events as one letter each; elements stand in brackets.
std::string trace(std::string_view text) {
  ArrayTextReader reader(text);
  std::string out;
  for (;;) {
    switch (reader.next()) {
      case Event::open: out += '('; break;
      case Event::close: out += ')'; break;
      case Event::element: out += '[' + std::string(reader.element()) + ']'; break;
      case Event::null: out += 'N'; break;
      case Event::end: return out;
      case Event::malformed: return out + '!';
    }
  }
}

TEST(ArrayTextReader, TellsElementsFromNullsAndQuotedOnes) {
  EXPECT_EQ(trace("{}"), "()");
  EXPECT_EQ(trace("{1,NULL,\"NULL\",\"\",\"a,b\"}"), "([1]N[NULL][][a,b])");
  EXPECT_EQ(trace(R"({"a\"b\\c","{"})"), R"(([a"b\c][{]))");
  EXPECT_EQ(trace("{{1,2},{3,4}}"), "(([1][2])([3][4]))");
}

TEST(ArrayTextReader, StopsAtDamage) {
  for (const char* text : {"", "{", "{1", "{1,", "{1,}", "{,1}", "{1}}", "{1}x", "x", "{1 }", "{\"a", "{\"a\\",
                           "{a\"}", "{{1}{2}}", "{1,{2}", "{{{{{{{1}}}}}}}"}) {
    EXPECT_TRUE(trace(text).ends_with('!')) << text;
  }
}

TEST(ArrayElement, IsQuotedAsTheServerDoes) {
  auto quoted = [](std::string_view element) {
    std::string out;
    append_array_element(out, element);
    return out;
  };
  EXPECT_EQ(quoted("plain"), "plain");
  EXPECT_EQ(quoted(""), "\"\"");
  EXPECT_EQ(quoted("nUll"), "\"nUll\"");
  EXPECT_EQ(quoted("nulls"), "nulls");
  EXPECT_EQ(quoted("a b"), "\"a b\"");
  EXPECT_EQ(quoted("\\"), R"("\\")");
  EXPECT_EQ(quoted("a\v"), "\"a\v\"");
}

TEST(ArrayHeader, NeverBelievesALyingSize) {
  std::string bytes(12, '\0');
  bytes[3] = 2;
  bytes += std::string("\x7f\xff\xff\xff\0\0\0\1\x7f\xff\xff\xff\0\0\0\1", 16);
  EXPECT_FALSE(read_array_header(bytes));
}

}  // namespace
}  // namespace tailrace::pg::codec
