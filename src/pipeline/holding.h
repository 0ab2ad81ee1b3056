#pragma once
// What becomes of a table that the target refuses (target::TableRefused): it is held, and the others go on, or
// the run ends, as `on_schema_error` says.

#include "config/config.h"
#include "schema/table.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// The remedy for a table whose rows did not come, where nothing is copied unasked.
constexpr const char* copy_once = "Run once with snapshot: {enabled: on}";

/// For those to whom one table is all.
Error as_error(const target::TableRefused& refused);

/// Holds the table durably and says so once, or throws Error. No transaction is open at the target.
void hold_table(const config::Config& config, target::Target& target, const schema::Table& table,
                const target::TableRefused& refused);
/// The same, of one that the target has a record of.
void hold_table(const config::Config& config, target::Target& target, const target::TableRefused& refused);

/// At the start of a run: names what is held. Where it `copies`, one whose copy never became whole is tried
/// again, for nothing of it is lost by that; the others wait for their user.
void tell_and_try_held(target::Target& target, bool copies);

}  // namespace tailrace::pipeline
