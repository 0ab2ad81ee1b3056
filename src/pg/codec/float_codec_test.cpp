#include "pg/codec/float_codec.h"

#include <gtest/gtest.h>

namespace tailrace::pg::codec {
namespace {

std::string shown(double value) {
  std::string out;
  append_float8(out, value);
  return out;
}

std::string shown(float value) {
  std::string out;
  append_float4(out, value);
  return out;
}

// The texts are those of a PostgreSQL 15 server.
TEST(FloatCodec, ShowsWhatTheServerShows) {
  EXPECT_EQ(shown(1e14), "100000000000000");
  EXPECT_EQ(shown(1e15), "1e+15");
  EXPECT_EQ(shown(0.0001), "0.0001");
  EXPECT_EQ(shown(0.00001), "1e-05");
  EXPECT_EQ(shown(-0.0), "-0");
  EXPECT_EQ(shown(123456789012345680.0), "1.2345678901234568e+17");
  EXPECT_EQ(shown(5e-324), "5e-324");
  EXPECT_EQ(shown(100000.0F), "100000");
  EXPECT_EQ(shown(1000000.0F), "1e+06");
  EXPECT_EQ(shown(3.1415927F), "3.1415927");
}

// The shortest text of these would lie half way between two floats, which the server avoids.
TEST(FloatCodec, AvoidsMidpoints) {
  EXPECT_EQ(shown(1e23), "9.999999999999999e+22");
  EXPECT_EQ(shown(9.5367431640625e-07), "9.5367431640625e-07");
  EXPECT_EQ(shown(33554432.0F), "3.3554432e+07");
}

}  // namespace
}  // namespace tailrace::pg::codec
