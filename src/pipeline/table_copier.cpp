#include "pipeline/table_copier.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/pulse.h"
#include "base/sql_text.h"
#include "pg/connection.h"
#include "pg/copy_out.h"
#include "pipeline/copy_done.h"
#include "pipeline/raw_text.h"
#include "pipeline/unreadable_table.h"
#include "schema/catalog.h"
#include "schema/reading.h"
#include "schema/same_table.h"
#include "source/slot.h"

namespace tailrace::pipeline {
namespace {

// 64 MiB of heap a part: large enough that its commit costs nothing, small enough to keep all readers busy at
// the end and DuckDB's transaction-local data bounded.
constexpr std::int64_t part_pages = 8192;
constexpr std::int64_t least_part_pages = 1024;
// A target that fills a table alone may do it better, but that takes statements: as long as a small table
// itself.
constexpr std::int64_t worth_telling = 16;
constexpr std::size_t binary_header = 19;
constexpr std::int64_t progress_every = 4096;

/// What a server says of one table's rows: that they may not be read (42501 is also row security), cannot be
/// computed or are corrupt; at the target, that it does not take them.
bool is_of_one_table(const Error& error) {
  constexpr std::array classes = {"0A", "22", "23", "42", "44", "54", "P0", "XX001", "XX002"};
  return error.retry() == Retry::needs_operator &&
         std::ranges::any_of(classes, [&](const auto* prefix) { return error.sqlstate().starts_with(prefix); });
}

/// Thrown inside a reader: this table needs another snapshot, the others go on.
struct NeedsNewerSnapshot {
  std::string reason;
};

/// The same: this table is not to be queried, so its leaves are copied whole.
struct CopyWhole {
  std::string reason;
};

struct Progress {
  std::size_t table = 0;
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
};

/// What the readers and the calling thread share.
struct Board {
  Board(const std::string& source, const StopSignal& stop) : guard(source, "tailrace snapshot", stop) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<CopyPart> parts;
  std::vector<int> parts_left;     // per table
  std::vector<std::int64_t> rows;  // per table, of finished parts
  std::vector<bool> given_up;      // per table: needs a newer snapshot
  std::vector<bool> copy_again;    // per table: a column must be widened first
  std::vector<bool> copy_whole;    // per table: again, but no part of it by a query
  std::map<std::size_t, target::TableRefused> refused;
  std::vector<std::size_t> settled;  // tables without work left, to be finished by the calling thread
  bool large_rows_at_work = false;
  bool all_listed = false;
  std::exception_ptr error;
  bool done = false;
  std::atomic<bool> failed{false};  // there is an error: who is in the middle of a part leaves
  std::set<Oid> open_to_others;     // as it stands before there are parts
  schema::QueryGuard guard;

  /// With the mutex held.
  void fail(std::exception_ptr why) {
    if (!error) error = std::move(why);
    failed = true;
    changed.notify_all();
  }
};

/// COPY takes these from a query only.
bool needs_query(const schema::Table& table) {
  return !table.row_filter.empty() || table.columns.empty() ||
         std::ranges::any_of(table.columns, &schema::Column::generated);
}

class Reader {
 public:
  Reader(const CopyOptions& options, const std::vector<schema::Table>& tables, target::Target& target,
         Board& shared, StatusBoard& board, const StopSignal& stop)
      : options_(options), tables_(tables), target_(target), shared_(shared), board_(board), stop_(stop) {}

  /// `lent`: a connection under the snapshot, which nobody else uses while there are parts; null: one of its
  /// own, if the server has one to give.
  void run(pg::Connection* lent) {
    WorkingThread working("copy reader");
    try {
      auto own = lent == nullptr ? connect() : std::nullopt;
      if (lent == nullptr && !own) return;
      auto& connection = own ? *own : *lent;
      while (auto part = take()) work(connection, *part);
    } catch (const StopRequested&) {
      return;
    } catch (...) {
      std::lock_guard lock(shared_.mutex);
      shared_.fail(std::current_exception());
    }
  }

 private:
  /// Nothing where the server has no connection left (max_connections, a role's or a database's limit): the
  /// other readers do it all then. If it is the server that is gone, they will tell.
  std::optional<pg::Connection> connect() {
    try {
      auto connection = pg::Connection::open(options_.source, {pg::Mode::sql, "tailrace snapshot"});
      connection.leave_on(stop_);
      if (!options_.waits_for_locks) connection.query(fmt::format("set {}", lock_patience), "beginning a copy");
      source::import_snapshot(connection, options_.snapshot);
      return connection;
    } catch (const Error& error) {
      log::warn("copy", "the copy goes on with one reader less: {}", error.what());
      return std::nullopt;
    }
  }

  std::optional<CopyPart> take() {
    std::unique_lock lock(shared_.mutex);
    auto next = shared_.parts.end();
    for (;;) {
      beat();
      if (shared_.done || shared_.error || stop_.requested()) return std::nullopt;
      next = std::find_if(shared_.parts.begin(), shared_.parts.end(), [&](const CopyPart& part) {
        return !part.large_rows || !shared_.large_rows_at_work;
      });
      if (next != shared_.parts.end()) break;
      if (shared_.all_listed && shared_.parts.empty() && !std::exchange(freed_, true)) {
        // It may start a thread, and wait for locks of its own.
        lock.unlock();
        target_.free_reader();
        lock.lock();
        continue;
      }
      // A signal wakes nobody.
      shared_.changed.wait_for(lock, std::chrono::milliseconds(100));
    }
    CopyPart part = std::move(*next);
    shared_.parts.erase(next);
    if (part.large_rows) shared_.large_rows_at_work = true;
    return part;
  }

  void work(pg::Connection& connection, const CopyPart& part) {
    std::int64_t rows = 0;
    std::optional<std::string> give_up;
    std::optional<target::TableRefused> refused;
    bool again = false;
    bool whole = false;
    try {
      rows = copy(connection, part);
    } catch (const NeedsNewerSnapshot& needs) {
      give_up = needs.reason;
    } catch (const target::CopyAgain& wide) {
      log::warn("copy", "{}; the table is copied again", wide.what());
      again = true;
    } catch (const CopyWhole& unsafe) {
      log::warn("copy", "{} is copied again, by one reader for all of it: {}", tables_[part.table].qualified(),
                unsafe.reason);
      again = whole = true;
    } catch (const target::TableRefused& refusal) {
      refused = refusal;
    } catch (const Error& error) {
      if (!options_.refuses_failed || !is_of_one_table(error)) throw;
      cancelled_ = true;
      const auto& table = tables_[part.table];
      bool forbidden = error.sqlstate() == "42501" && error.remedy().empty();
      refused.emplace(table.oid, fmt::format("the copy of {} failed: {}", table.qualified(), error.message()),
                      forbidden ? grant_to_read(options_.source, part.leaf) : error.remedy());
    }
    std::lock_guard lock(shared_.mutex);
    if (part.large_rows) shared_.large_rows_at_work = false;
    --shared_.parts_left[part.table];
    shared_.rows[part.table] += rows;
    if (give_up || again || refused) drop_rest(part.table);
    if (refused) shared_.refused.emplace(part.table, *refused);
    if (give_up) {
      shared_.given_up[part.table] = true;
      log::warn("copy", "{} {}; it will be copied under a newer snapshot", tables_[part.table].qualified(),
                *give_up);
    }
    if (again) shared_.copy_again[part.table] = true;
    if (whole) shared_.copy_whole[part.table] = true;
    if (shared_.parts_left[part.table] == 0) shared_.settled.push_back(part.table);
    shared_.changed.notify_all();
  }

  void drop_rest(std::size_t table) {
    auto removed = std::erase_if(shared_.parts, [&](const CopyPart& part) { return part.table == table; });
    shared_.parts_left[table] -= static_cast<int>(removed);
  }

  /// A failed statement would end the transaction and with it the snapshot, so each part has a savepoint.
  std::int64_t copy(pg::Connection& connection, const CopyPart& part) {
    const auto& table = tables_[part.table];
    // What the last part left aborted goes first: an aborted transaction takes no savepoint.
    if (std::exchange(cancelled_, false)) connection.query("rollback to savepoint part", "copying");
    schema::SeenTable leaf{part.leaf, part.schema, part.name};
    expect_as_seen(connection, leaf, [&] {
      if (auto why = schema::lock_as_seen(connection, leaf, "savepoint part; ")) throw changed(*why);
    });
    bool binary = options_.allow_binary && target_.reads_binary(table);
    auto writer = target_.copy(table.oid, binary, part.alone);
    std::string purpose = "copying " + table.qualified();
    std::optional<pg::CopyOut> begun;
    try {
      expect_as_seen(connection, leaf, [&] {
        begin_reading(part, [&] { begun.emplace(connection, copy_command(table, part, binary), purpose); });
      });
    } catch (const CopyWhole&) {
      connection.query("rollback to savepoint part", purpose);
      throw;
    }
    auto& stream = *begun;
    Progress progress{part.table, 0, 0};
    std::int64_t rows = 0;
    std::string_view message;
    bool first = binary;
    while (next(stream, message)) {
      if (first) {
        if (message.size() < binary_header)
          throw Error(Retry::fatal, "a binary COPY begins without its header");
        message.remove_prefix(binary_header);
        first = false;
      }
      if (binary && message == std::string_view("\xff\xff", 2)) continue;  // the trailer
      if (!binary) message.remove_suffix(1);
      target::CopyWriter::Rows more;
      try {
        if (options_.checks_text) check_text(table.oid, table.qualified(), message);
        writer->row(message);
        progress.bytes += static_cast<std::int64_t>(message.size());
        stream.release();
        writer->settle();
        if (!options_.checks_text) more = writer->take(stream);
      } catch (...) {
        // Leaving in the middle of a COPY: the connection cannot be used on without its end.
        connection.cancel_soon();
        drain(stream);
        throw;
      }
      rows += 1 + more.count;
      progress.rows += 1 + more.count;
      progress.bytes += more.bytes;
      if (progress.rows >= progress_every) report(progress);
    }
    if (auto why = schema::is_still(connection, leaf)) throw changed(*why);
    writer->finish();
    kill_point("copy.part.finished");
    report(progress);
    connection.query("release savepoint part", "copying");
    return rows;
  }

  static NeedsNewerSnapshot changed(const std::string& how) { return {how + " while it was copied"}; }

  /// What the server says of a table that is not what it was tells nothing of it.
  void expect_as_seen(pg::Connection& connection, const schema::SeenTable& leaf,
                      const std::function<void()>& statement) {
    try {
      statement();
    } catch (const Error& error) {
      if (!schema::may_be_of_another(error)) throw;
      connection.query("rollback to savepoint part", "copying");
      if (auto why = schema::is_still(connection, leaf)) throw changed(*why);
      throw;
    }
  }

  /// A COPY that is a query is planned when it begins.
  void begin_reading(const CopyPart& part, const std::function<void()>& begin) {
    const auto& table = tables_[part.table];
    bool queries = !part.whole || needs_query(table);
    if (!queries || !shared_.open_to_others.contains(table.oid)) return begin();
    auto refused = shared_.guard.while_judged(part.schema, part.name, /*tree=*/false, begin);
    if (!refused) return;
    if (needs_query(table)) throw Error(*refused);
    throw CopyWhole{refused->message()};
  }

  /// The next message; false at the end of the copy. Leaves at once when a stop is asked for, also when the
  /// server has gone silent.
  bool next(pg::CopyOut& stream, std::string_view& message) {
    for (;;) {
      beat();
      // Also while there is always something: the target may be slower than the source.
      if (stop_.requested() || shared_.failed) throw StopRequested();
      switch (stream.next(message)) {
        case pg::CopyOut::Next::data: return true;
        case pg::CopyOut::Next::end: return false;
        case pg::CopyOut::Next::nothing_yet: break;
      }
      while (!stream.read()) {
        beat();
        if (stop_.requested() || shared_.failed) throw StopRequested();
        stream.wait(std::chrono::milliseconds(100));
      }
    }
  }

  /// Of a copy that was cancelled.
  void drain(pg::CopyOut& stream) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    try {
      std::string_view rest;
      while (std::chrono::steady_clock::now() < deadline) {
        auto got = stream.next(rest);
        if (got == pg::CopyOut::Next::end) return;
        if (stop_.requested()) throw StopRequested();
        if (got == pg::CopyOut::Next::nothing_yet && !stream.read())
          stream.wait(std::chrono::milliseconds(100));
      }
    } catch (const Error&) {
      // The cancellation itself. The savepoint is rolled back by the reader's next statement.
      cancelled_ = true;
      return;
    }
    throw Error(Retry::transient, "the server does not end a copy that was cancelled");
  }

  void report(Progress& progress) {
    board_.measures().copied(static_cast<std::uint64_t>(progress.bytes));
    board_.update([&](Status& status) {
      for (auto& table : status.tables) {
        if (table.schema != tables_[progress.table].schema || table.name != tables_[progress.table].name)
          continue;
        table.state = TableState::copying;
        table.rows_copied += progress.rows;
        table.bytes_copied += progress.bytes;
      }
    });
    progress.rows = progress.bytes = 0;
  }

  const CopyOptions& options_;
  const std::vector<schema::Table>& tables_;
  target::Target& target_;
  Board& shared_;
  StatusBoard& board_;
  const StopSignal& stop_;
  bool cancelled_ = false;  ///< the part's savepoint is to be gone back to
  bool freed_ = false;
};

std::vector<CopyPart> split(const std::vector<schema::Catalog::Leaf>& leaves, std::size_t index, bool ranges,
                            int readers) {
  std::vector<CopyPart> parts;
  for (const auto& leaf : leaves) {
    CopyPart part{index, leaf.schema, leaf.name, 0, -1, leaf.pages, true, false, leaf.large_rows, leaf.oid};
    if (!ranges || leaf.pages <= part_pages * 3 / 2) {
      parts.push_back(part);
      continue;
    }
    // The last range is open: blocks that were added since the table was measured may hold visible rows.
    std::int64_t block = 0;
    for (auto pages : part_sizes(leaf.pages, readers)) {
      part.whole = false;
      part.first_block = block;
      block += pages;
      part.end_block = block < leaf.pages ? block : -1;
      part.pages = pages;
      parts.push_back(part);
    }
  }
  if (parts.size() == 1) parts.front().alone = parts.front().pages >= worth_telling;
  return parts;
}

/// Of the same leaves, without ctid ranges.
std::vector<CopyPart> whole_leaves(std::vector<CopyPart> parts) {
  std::erase_if(parts, [](const CopyPart& part) { return part.first_block > 0; });
  for (auto& part : parts) {
    part.whole = true;
    part.end_block = -1;
    part.alone = parts.size() == 1 && part.pages >= worth_telling;
  }
  return parts;
}

void set_table_state(StatusBoard& board, const schema::Table& table, TableState state, bool reset) {
  board.update([&](Status& status) {
    for (auto& entry : status.tables) {
      if (entry.schema != table.schema || entry.name != table.name) continue;
      entry.state = state;
      if (reset) entry.rows_copied = entry.bytes_copied = 0;
    }
  });
}

/// The calling thread's side: it alone uses the target's metadata.
class Coordinator {
 public:
  Coordinator(const CopyOptions& options, const std::vector<schema::Table>& tables, target::Target& target,
              StatusBoard& board, Board& shared)
      : options_(options), tables_(tables), target_(target), board_(board), shared_(shared) {}

  /// Divides the tables. Gives how many readers have a part to read: one costs the server a process in any
  /// case.
  int plan(pg::Connection& connection) {
    schema::Catalog catalog(connection);
    bool ranges = connection.server_version() >= 140000;  // 13 scans the whole heap for a ctid range
    parts_.resize(tables_.size());
    auto leaves = catalog.leaves(tables_);
    auto not_queried = only_copied(connection);
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      auto oid = tables_[i].oid;
      parts_[i] = split(leaves[oid], i, ranges && !not_queried.contains(oid), options_.readers);
    }
    std::size_t parts = 0;
    for (const auto& of_table : parts_) parts += of_table.size();
    auto most = static_cast<std::size_t>(std::max(options_.readers, 1));
    return static_cast<int>(std::clamp(parts, std::size_t{1}, most));
  }

  /// `readers`: that wait for parts.
  std::vector<Oid> run(int readers, const StopSignal& stop) {
    // The largest tables first, so that no reader is left alone with one at the end.
    std::vector<std::size_t> order(tables_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return tables_[a].bytes > tables_[b].bytes; });
    for (std::size_t index : order) enqueue(index);
    {
      std::lock_guard lock(shared_.mutex);
      shared_.all_listed = true;
      shared_.changed.notify_all();
    }
    for (int i = readers; i < options_.readers; ++i) target_.free_reader();
    std::vector<Oid> unfinished;
    while (finished_ < tables_.size()) {
      std::vector<std::size_t> settled;
      {
        std::unique_lock lock(shared_.mutex);
        shared_.changed.wait_for(lock, std::chrono::milliseconds(100),
                                 [&] { return shared_.error || !shared_.settled.empty(); });
        if (shared_.error || stop.requested()) break;
        settled.swap(shared_.settled);
      }
      for (std::size_t index : settled) settle(index, unfinished);
    }
    std::lock_guard lock(shared_.mutex);
    shared_.done = true;
    shared_.changed.notify_all();
    return unfinished;
  }

 private:
  /// The tables of which no part may be a query.
  std::set<Oid> only_copied(pg::Connection& connection) const {
    if (options_.trust_source) return {};
    std::vector<Oid> oids;
    for (const auto& table : tables_) oids.push_back(table.oid);
    auto judged = schema::judge_queries(connection, oids);
    shared_.open_to_others = std::move(judged.open_to_others);
    std::set<Oid> refused;
    for (const auto& table : tables_) {
      if (judged.refused.contains(table.oid) && needs_query(table)) refused.insert(table.oid);
    }
    if (!refused.empty()) schema::refuse_to_query(connection, refused);
    return std::move(judged.refused);
  }

  void enqueue(std::size_t index) {
    try {
      target_.create_table(tables_[index]);
    } catch (const target::TableRefused& refused) {
      return refuse(index, refused);
    }
    set_table_state(board_, tables_[index], TableState::pending, /*reset=*/true);
    std::lock_guard lock(shared_.mutex);
    shared_.rows[index] = 0;
    shared_.copy_again[index] = shared_.copy_whole[index] = false;
    shared_.parts_left[index] = static_cast<int>(parts_[index].size());
    shared_.parts.insert(shared_.parts.end(), parts_[index].begin(), parts_[index].end());
    if (parts_[index].empty()) shared_.settled.push_back(index);
    shared_.changed.notify_all();
  }

  void refuse(std::size_t index, const target::TableRefused& refused) {
    if (!options_.refused) throw refused;
    options_.refused(tables_[index], refused);
    set_table_state(board_, tables_[index], TableState::held, /*reset=*/false);
    ++finished_;
  }

  void settle(std::size_t index, std::vector<Oid>& unfinished) {
    std::optional<target::TableRefused> refused;
    bool again = false;
    bool given_up = false;
    std::int64_t rows = 0;
    {
      std::lock_guard lock(shared_.mutex);
      again = shared_.copy_again[index];
      if (shared_.copy_whole[index]) parts_[index] = whole_leaves(std::move(parts_[index]));
      given_up = shared_.given_up[index];
      rows = shared_.rows[index];
      if (auto found = shared_.refused.find(index); found != shared_.refused.end()) refused = found->second;
    }
    if (refused) return refuse(index, *refused);
    if (given_up) {
      unfinished.push_back(tables_[index].oid);
    } else if (again) {
      enqueue(index);
      return;
    } else {
      try {
        target_.finish_copy(tables_[index].oid, options_.snapshot_lsn, rows);
      } catch (const target::TableRefused& late) {
        return refuse(index, late);
      }
      set_table_state(board_, tables_[index], TableState::copied, /*reset=*/false);
      log::info("copy", "{}: {} rows copied", tables_[index].qualified(), rows);
    }
    ++finished_;
  }

  const CopyOptions& options_;
  const std::vector<schema::Table>& tables_;
  target::Target& target_;
  StatusBoard& board_;
  Board& shared_;
  std::vector<std::vector<CopyPart>> parts_;
  std::size_t finished_ = 0;
};

}  // namespace

std::vector<std::int64_t> part_sizes(std::int64_t pages, int readers) {
  std::vector<std::int64_t> out;
  while (pages > 0) {
    auto share = pages / (2 * std::max(readers, 1));
    out.push_back(std::min(pages, std::clamp(share, least_part_pages, part_pages)));
    pages -= out.back();
  }
  return out;
}

std::string copy_command(const schema::Table& table, const CopyPart& part, bool binary) {
  std::string columns;
  bool generated = false;
  for (const auto& column : table.columns) {
    columns += (columns.empty() ? "" : ", ") + quote_identifier(column.name);
    generated |= column.generated;
  }
  std::string name = quote_qualified(part.schema, part.name);
  const char* format = binary ? " to stdout (format binary)" : " to stdout";
  if (part.whole && table.row_filter.empty() && !generated && !columns.empty()) {
    return fmt::format("copy {} ({}){}", name, columns, format);
  }
  std::string where;
  auto add = [&](const std::string& condition) { where += (where.empty() ? " where " : " and ") + condition; };
  if (!part.whole) add(fmt::format("ctid >= '({},0)'::pg_catalog.tid", part.first_block));
  if (part.end_block >= 0) add(fmt::format("ctid < '({},0)'::pg_catalog.tid", part.end_block));
  if (!table.row_filter.empty()) add("(" + table.row_filter + ")");
  return fmt::format("copy (select {} from only {}{}){}", columns, name, where, format);
}

void list_to_copy(const std::vector<schema::Table>& tables, Status& status) {
  for (const auto& table : tables) {
    TableStatus entry;
    entry.schema = table.schema;
    entry.name = table.name;
    entry.estimated_rows = table.estimated_rows;
    entry.estimated_bytes = table.bytes;
    status.tables.push_back(std::move(entry));
  }
}

std::vector<Oid> copy_tables(const CopyOptions& options, const std::vector<schema::Table>& tables,
                             pg::Connection& connection, target::Target& target, StatusBoard& board,
                             const StopSignal& stop) {
  if (tables.empty()) return {};
  auto began = std::chrono::steady_clock::now();
  Board shared(options.source, stop);
  shared.parts_left.resize(tables.size());
  shared.rows.resize(tables.size());
  shared.given_up.resize(tables.size());
  shared.copy_again.resize(tables.size());
  shared.copy_whole.resize(tables.size());
  std::vector<Oid> unfinished;
  {
    std::vector<std::jthread> readers;
    try {
      Coordinator coordinator(options, tables, target, board, shared);
      auto count = coordinator.plan(connection);
      for (int i = 0; i < count; ++i) {
        auto* lent = i == 0 ? &connection : nullptr;
        try {
          readers.emplace_back([&, lent] { Reader(options, tables, target, shared, board, stop).run(lent); });
        } catch (const std::system_error& error) {
          if (readers.empty())
            throw Error(Retry::transient,
                        fmt::format("no thread can be started for the copy: {}", error.what()));
          log::warn("copy", "the copy goes on with {} readers of {}: no thread can be started: {}",
                    readers.size(), count, error.what());
          break;
        }
      }
      unfinished = coordinator.run(count, stop);
    } catch (...) {
      std::lock_guard lock(shared.mutex);
      shared.fail(std::current_exception());
    }
    std::lock_guard lock(shared.mutex);
    shared.done = true;
    shared.changed.notify_all();
  }
  if (shared.error) std::rethrow_exception(shared.error);
  if (!stop.requested()) note_copied(tables, options.snapshot_lsn, began, board);
  return unfinished;
}

}  // namespace tailrace::pipeline
