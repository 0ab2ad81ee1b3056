#include "cli/until.h"

#include "pg/codec/datetime_codec.h"

namespace tailrace::cli {
namespace {

/// ISO 8601 as people and `date` write it; PostgreSQL's own form of it is what the codec reads.
bool read_time(std::string text, PgTimestamp& out) {
  auto t = text.find_first_of("Tt");
  if (t != std::string::npos) text[t] = ' ';
  if (text.ends_with('Z') || text.ends_with('z')) text.replace(text.size() - 1, 1, "+00");
  auto time = text.find(' ');
  auto zone = time == std::string::npos ? time : text.find_first_of("+-", time);
  if (zone == std::string::npos) return false;
  // +0200 is +02:00, and 22:10 is 22:10:00.
  if (text.size() - zone == 5 && text.find(':', zone) == std::string::npos) text.insert(zone + 3, ":");
  if (zone - time == 6) text.insert(zone, ":00");
  return pg::codec::parse_timestamptz(text, out.micros) && out.micros != pg::codec::timestamp_infinity &&
         out.micros != pg::codec::timestamp_minus_infinity && out.micros != 0;
}

}  // namespace

pipeline::Until read_until(const Options& options) {
  pipeline::Until out;
  out.once = options.once;
  if (options.until.empty()) return out;
  if (out.once) throw UsageProblems{{{"--until", "says another end than --once: give one of them", "", 0, 0}}};
  if (auto lsn = Lsn::parse(options.until)) {
    out.lsn = *lsn;
    if (out.lsn.valid()) return out;
  } else if (read_time(options.until, out.time)) {
    return out;
  }
  throw UsageProblems{{{"--until",
                        "must be a position such as 16/B374D848, or a time with its zone such as "
                        "2026-11-30T22:10:00Z or 2026-11-30T23:10+01:00",
                        "", 0, 0}}};
}

}  // namespace tailrace::cli
