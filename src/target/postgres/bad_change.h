#pragma once
// BadChange: a change that the target refused, in words.

#include <span>
#include <string>

#include "model/apply_batch.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// A change that was refused, while everything around it is as it was before.
struct Refusal {
  std::size_t entry = 0;  ///< which of the changes that were tried
  std::string sqlstate;   ///< empty: its row is not there
  std::string words;      ///< the server's, or ours
};

/// True when the server refused what a statement says, rather than having troubles of its own: the same
/// statement would be refused again.
bool about_a_change(const Error& error);

/// The server's words, without what we were doing.
std::string server_words(const Error& error);

/// Values of its type that came in binary can be shown as PostgreSQL shows them.
bool has_value_text(const RelationColumn& column);

/// A value as PostgreSQL shows it; one in binary of which that is not known, as its bytes in hexadecimal.
std::string value_text(const RelationColumn& column, const Value& value);

/// "the INSERT of (id)=(5)". `key`: the columns that name a row; none: all.
std::string describe(const Change& change, const Relation& relation, std::span<const std::size_t> key);

/// The one sentence that a run stops with.
Error stop_error(const std::string& what, const std::string& words, const std::string& sqlstate,
                 Lsn commit_lsn);

}  // namespace tailrace::target::postgres
