#pragma once
// SequenceKeeper: keeps the target's sequences ahead of the source's, so that whoever writes to the target one
// day gets no number twice. Sequences are matched by name, and only those of ours are set.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "schema/sequence.h"

namespace tailrace::target::postgres {

/// Which of the target's sequences are ours to set: what the subscription made, by its books; what columns of
/// its tables own or take their defaults from.
struct SequenceOwnership {
  std::string subscription;
  /// So is what belongs to nobody's table and has the name of one of the source's: the target was made by hand.
  bool by_name = false;
};

/// One thread. Borrows the target's connection, which is between transactions whenever it is called.
class SequenceKeeper {
 public:
  SequenceKeeper(pg::Connection& target, SequenceOwnership ours) : target_(target), ours_(std::move(ours)) {}

  /// Sets the sequences that belong to the tables so that each is `margin` increments beyond the source's; one
  /// that is there already is left alone, and so is one that has not moved at the source since it was last
  /// looked at. Returns how many there are. What cannot be kept is warned of once. A lock that somebody holds,
  /// here or there, puts it off until the next call.
  std::int64_t keep_ahead(pg::Connection& source, const std::vector<Oid>& tables, std::int64_t margin);
  /// Sequences of the target were set back: the next keep_ahead() looks at all, moved at the source or not.
  void look_again();

 private:
  using Name = std::pair<std::string, std::string>;
  struct Seen {
    schema::SequenceValue value;
    bool again = false;
  };

  std::int64_t keep(pg::Connection& source, const std::vector<Oid>& tables, std::int64_t margin);
  void set_ahead(const schema::Sequence& source, const schema::Sequence& target, std::int64_t margin);
  void warn_once(const std::string& text);

  pg::Connection& target_;
  const SequenceOwnership ours_;
  std::map<Name, Seen> seen_;  ///< of the source, when the target was last set by it
  std::int64_t kept_ = 0;
  std::set<std::string> warned_;
};

struct SequencesSet {
  std::int64_t set = 0;
  std::vector<std::string> problems;  ///< a sentence for each that was not
};

/// Sets the target's sequences to exactly where the source's stand, also backwards. Where the target has no
/// books of the subscription, those of the source's names.
SequencesSet set_sequences_exactly(pg::Connection& source, const std::vector<Oid>& tables,
                                   pg::Connection& target, const SequenceOwnership& ours);

}  // namespace tailrace::target::postgres
