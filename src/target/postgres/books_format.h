#pragma once
// BooksFormat: the shape of the schema `tailrace` in a target database, and how the books of an earlier
// tailrace are brought to today's: step by step, in one transaction, before anything else is written there.
//
// A change of the books is one more step at the end of the list in books_format.cpp; what a step did once is
// never edited, since there are databases that it was applied to. Several mirrors share the books, and one of
// them may still be run by an earlier tailrace, which inserts by position: a step adds columns at the end, with
// defaults.

#include <string>

#include "model/relation.h"
#include "pg/connection.h"

namespace tailrace::target::postgres {

/// True when the database has books of any format.
bool has_books(pg::Connection& connection);
/// True when it has them in today's format.
bool is_up_to_date(pg::Connection& connection);
/// True when the mirror of that name has a checkpoint in them.
bool is_set_up(pg::Connection& connection, const std::string& subscription);
/// Something of its structure is there, or on its way: a start has been at it.
bool is_begun(pg::Connection& connection, const std::string& subscription);
/// The other mirrors whose books say that they fill this table of the target, by name; empty: none does.
std::string other_mirrors_into(pg::Connection& connection, const std::string& subscription, Oid target_table);

/// What is said where a first start meets their rows.
std::string rows_of_others(const std::string& tables, const std::string& mirrors);
constexpr const char* remedy_of_others =
    "If it is this mirror, start it under that name (--name); else leave the table out (tables:), or give this "
    "mirror a database of its own. Emptying it would take the other's rows";

/// Makes the books where there are none, or brings them to today's format. Writes nothing to the books of a
/// newer tailrace: throws Error (needs_operator), as where the user may not. Opens a transaction of its own.
void bring_books_up_to_date(pg::Connection& connection);

}  // namespace tailrace::target::postgres
