#pragma once
// MirrorFormat: the shape of the metadata schema `tailrace` in a DuckDB file, and how the metadata of an
// earlier tailrace is brought to today's: step by step, in one transaction, before anything else is done with
// the file.
//
// A change of the metadata is one more step at the end of the list in mirror_format.cpp; what a step did once
// is never edited, since there are files that it was applied to.

#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {

/// Makes the metadata where there is none, or brings it to today's format. Writes nothing to a file of a newer
/// tailrace: throws Error (needs_operator). Opens a transaction of its own.
void bring_up_to_date(Session& session, bool metadata_is_there);

/// The same refusal alone, of metadata that is there; nothing is written.
void refuse_newer(Session& session);
/// Throws what that does.
bool is_up_to_date(Session& session);

}  // namespace tailrace::target::duckdb
