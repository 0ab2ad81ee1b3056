#include "source/stream_options.h"

#include <fmt/format.h>

#include "base/sql_text.h"

namespace tailrace::source {
namespace {

constexpr int origin_filter_version = 160000;

std::string names_in_list(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ",") + quote_identifier(name);
  return list;
}

/// Names and values in turn.
std::vector<std::pair<std::string, std::string>> plugin_options(const StreamOptions& options,
                                                                int server_version) {
  // Before 16 the origin of a transaction in progress is that of its first record, which may have none where
  // its commit has one. What is to be told by its origin comes whole, then.
  bool streaming = options.streaming && server_version >= (options.local_only ? origin_filter_version : 140000);
  std::vector<std::pair<std::string, std::string>> out{
      {"proto_version", streaming ? "2" : "1"}, {"publication_names", names_in_list(options.publications)}};
  if (server_version >= 140000) {
    out.emplace_back("binary", options.binary ? "true" : "false");
    out.emplace_back("messages", "true");
  }
  if (streaming) out.emplace_back("streaming", "on");
  if (options.local_only && server_version >= origin_filter_version) out.emplace_back("origin", "none");
  return out;
}

}  // namespace

std::string start_replication_command(const StreamOptions& options, int server_version) {
  std::string list;
  for (const auto& [name, value] : plugin_options(options, server_version))
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", name, quote_literal(value));
  return fmt::format("START_REPLICATION SLOT {} LOGICAL {} ({})", quote_identifier(options.slot),
                     options.start.str(), list);
}

std::string read_backlog_command(const StreamOptions& options, const std::string& slot, Lsn upto,
                                 std::optional<std::uint64_t> messages, int server_version) {
  std::string list;
  for (const auto& [name, value] : plugin_options(options, server_version))
    list += fmt::format(", {}, {}", quote_literal(name), quote_literal(value));
  return fmt::format(
      "copy (select data from pg_catalog.pg_logical_slot_get_binary_changes({}, {}, {}{})) "
      "to stdout (format binary)",
      quote_literal(slot), quote_literal(upto.str()), messages ? std::to_string(*messages) : "null", list);
}

}  // namespace tailrace::source
