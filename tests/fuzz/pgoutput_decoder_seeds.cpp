// Writes the seeds of pgoutput_decoder_fuzz: whole streams, so that the fuzzer begins behind the door.
//   pgoutput_decoder_seeds tests/fuzz/corpus/pgoutput_decoder

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "pgoutput/message_builder.h"

namespace {

using namespace tailrace;
using namespace tailrace::pgoutput;

using Messages = std::vector<std::string>;

const MessageBuilder plain;

Messages changes(const MessageBuilder& build, const Relation& relation) {
  bool full = relation.identity == ReplicaIdentity::full;
  Cells one{text_cell("1"), text_cell("a"), null_cell()};
  Cells two{text_cell("2"), unchanged_cell(), binary_cell("b")};
  Cells key{text_cell("1"), full ? text_cell("a") : null_cell(), null_cell()};
  Cells new_key{text_cell("2"), full ? text_cell("a") : null_cell(), full ? binary_cell("b") : null_cell()};
  char kind = full ? 'O' : 'K';
  Messages out{build.type(16400, "public", "mood"), build.relation(relation), build.insert(relation.oid, one),
               build.update(relation.oid, kind, key, two)};
  if (!full) out.push_back(build.update(relation.oid, {text_cell("2"), text_cell("c"), null_cell()}));
  out.push_back(build.remove(relation.oid, kind, new_key));
  out.push_back(build.truncate({relation.oid}, 3));
  out.push_back(build.insert(relation.oid, one));
  out.push_back(build.message(true, {0x60}, "prefix", "content"));
  return out;
}

Messages framed(Messages first, const Messages& inside, const Messages& last) {
  first.insert(first.end(), inside.begin(), inside.end());
  first.insert(first.end(), last.begin(), last.end());
  return first;
}

std::vector<std::pair<std::string, Messages>> seeds() {
  Relation keyed = make_relation(42, "orders", 3, {0});
  Relation scattered = make_relation(43, "items", 3, {0, 2});
  Relation whole = make_relation(44, "log", 3, {}, ReplicaIdentity::full);
  std::vector<std::pair<std::string, Messages>> out;
  for (const auto& relation : {keyed, scattered, whole}) {
    out.emplace_back("transaction_" + relation.name,
                     framed({plain.begin(1, {0x60}), plain.origin({0x50}, "node")}, changes(plain, relation),
                            {plain.commit({0x60}, {0x70})}));
    MessageBuilder block(5);
    out.emplace_back(
        "streamed_" + relation.name,
        framed({plain.stream_start(5, true)}, changes(block, relation),
               {MessageBuilder(6).insert(relation.oid, {text_cell("3"), null_cell(), null_cell()}),
                plain.stream_stop(), plain.stream_abort(5, 6), plain.stream_commit(5, {0x60}, {0x70})}));
  }
  out.emplace_back("prepared", framed({plain.begin_prepare(7, {0x60}, {0x68}, "gid")}, changes(plain, keyed),
                                      {plain.prepare(7, {0x60}, {0x68}, "gid"),
                                       plain.commit_prepared(7, {0x70}, {0x78}, "gid")}));
  out.emplace_back(
      "prepared_streamed",
      framed({plain.stream_start(8, true)}, changes(MessageBuilder(8), keyed),
             {plain.stream_stop(), plain.stream_prepare(8, {0x60}, {0x68}, "gid"),
              plain.rollback_prepared(8, {0x68}, {0x78}, "gid"), plain.message(false, {0x80}, "p", "c")}));
  out.emplace_back("held_already",
                   framed({plain.begin(1, {0x20})}, changes(plain, keyed), {plain.commit({0x20}, {0x30})}));
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: pgoutput_decoder_seeds FOLDER\n", stderr);
    return 2;
  }
  for (const auto& [name, messages] : seeds()) {
    std::ofstream file(std::string(argv[1]) + "/" + name, std::ios::binary);
    for (const auto& message : messages) {
      MessageWriter length;
      file << length.number(static_cast<std::uint16_t>(message.size())).take() << message;
    }
    if (!file.flush()) return 1;
  }
  return 0;
}
