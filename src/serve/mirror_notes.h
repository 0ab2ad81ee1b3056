#pragma once
// MirrorNote: what a mirror leaves on its host, so that every process there finds it, whatever its environment,
// and what is known of it once it has ended. Holds no secrets. A note grants nothing: who is asked, and who
// answers, is looked at where the socket is.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "serve/socket_places.h"

namespace tailrace::serve {

struct MirrorNote {
  std::string host;  ///< a home may be shared by several
  std::string name;
  std::string source;        ///< redacted
  std::string source_place;  ///< see pg::server_place()
  std::string target;        ///< redacted; of a file, its real path
  std::string target_place;  ///< the same for every way to write it
  // How each is reached, without secrets: of a file nothing, and nothing where an earlier version wrote this.
  std::string source_conninfo = {};
  std::string target_conninfo = {};
  std::string slot;
  std::vector<std::string> publications;
  std::int64_t pid = 0;
  std::string socket;
  PgTimestamp started_at;
  // Written at its end. Without it, and with nobody at the socket, it was not ended in order.
  bool ended = false;
  bool failed = false;
  PgTimestamp ended_at;
  std::string reason;
  Lsn position;                 ///< all up to here is at the target, but for
  PgTimestamp position_at;      ///< when that was seen
  std::int64_t unfinished = 0;  ///< tables of which not all rows are there
  PgTimestamp commit_time;      ///< of the last transaction there
  // Of the file that it was read from.
  std::string path = {};
  uid_t owner = 0;

  /// Where it may be asked.
  SocketPlaces places() const;
  /// Somebody answers there.
  bool answers() const;
  /// Its target is a file that is not there: its disk is not mounted, or it was moved or deleted.
  bool file_gone() const;
  /// Another user's note says what it likes: a file that it speaks of must be that user's.
  bool believable() const;
};

/// All that this user may know of: its own and root's; for root, everybody's. A look changes nothing.
std::vector<MirrorNote> read_notes();
void remove_note(const MirrorNote& note);

/// Why $TAILRACE_STATE is of no use, as a sentence; empty: it is not set, or fit.
std::string state_folder_problem();

/// The running mirror's own. Where no folder can be had it does nothing: the mirror is found at its usual
/// places then, and the log says so.
class NoteKeeper {
 public:
  /// Once this process listens at the note's socket. Written at once, and again by ended(). Destroyed without
  /// it, as by a crash, it stays as it is. Error(needs_operator): the process of an earlier note still runs.
  explicit NoteKeeper(MirrorNote note);
  struct Reached {
    Lsn position;
    PgTimestamp commit_time;
    std::optional<std::int64_t> unfinished;  ///< nothing: not known
  };
  /// What is not known of where it got to stays as it was known before. With a position, the notes of the same
  /// slot go whose file is gone: a slot has one reader, and this is the mirror that was there.
  void ended(bool failed, const std::string& reason, const Reached& reached);
  /// What was known before holds no more.
  void forget_position();
  /// What was there before comes back.
  void forget();
  /// There was one before, of an earlier run.
  bool was_there() const { return earlier_.has_value(); }

 private:
  void write();

  MirrorNote note_;
  std::optional<MirrorNote> earlier_;
};

}  // namespace tailrace::serve
