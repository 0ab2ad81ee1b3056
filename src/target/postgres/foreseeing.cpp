#include "target/postgres/foreseeing.h"

#include <algorithm>

#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_format.h"
#include "target/postgres/structure_builder.h"
#include "target/postgres/structure_following.h"
#include "target/postgres/table_checks.h"
#include "target/postgres/target_user.h"

namespace tailrace::target::postgres {
namespace {

void check_structure(pg::Connection& target, const PostgresOptions& options, bool books, const Records& records,
                     const std::vector<schema::Table>& tables, const schema::ReadStructure& read) {
  MadeObjects made(target, options.subscription, books);
  std::vector<Oid> oids;
  for (const auto& table : tables) oids.push_back(table.oid);
  auto how = structure_options(target, options);
  how.leaves_out = [&](const auto& objects) {
    return made.present(objects, how.strangers, [](const auto& /*object*/) { return true; });
  };
  how.followed = tables_there(target, records, oids);
  auto structure = read(oids, how);
  // Of nobody's names none has to be freed, and of another's none can be.
  auto make_room = [&](const TableName& name) {
    return occupants(target, records, {Claim{.schema = name.first, .name = name.second}}).front().whose ==
           Occupant::Whose::nobody;
  };
  check_makeable(target, records, made, tables, structure, make_room);
  check_roles(target, structure.roles);
  check_row_security(target, structure.forced);
}

}  // namespace

std::vector<Error> foresee_refusals(pg::Connection& target, const PostgresOptions& options,
                                    const std::vector<schema::Table>& tables, const std::set<Oid>& coming,
                                    const schema::ReadStructure& read) {
  std::vector<Error> out;
  // The schema tailrace may be another subscription's, of an earlier format; a start alters that first.
  bool books = has_books(target) && is_up_to_date(target);
  Records records;
  std::vector<HiddenTables::Root> hidden;
  if (books) {
    records = Bookkeeping(target, options.subscription).read_tables();
    hidden = HiddenTables(target, options.subscription).roots();
  }
  auto checked = check_can_take(target, hidden, tables, records, options);
  for (const auto& refused : checked.refused)
    out.emplace_back(Retry::needs_operator, refused.reason(), refused.remedy());
  if (!out.empty()) return out;
  try {
    if (options.keep_rows) check_rows_there(checked, tables, coming);
    std::vector<schema::Table> missing;
    std::ranges::copy_if(tables, std::back_inserter(missing),
                         [&](const auto& table) { return !checked.found.contains(table.oid); });
    if (!missing.empty()) check_structure(target, options, books, records, missing, read);
  } catch (const TableRefused& refused) {
    out.emplace_back(Retry::needs_operator, refused.reason(), refused.remedy());
  } catch (const Error& error) {
    if (error.retry() == Retry::transient) throw;
    out.push_back(error);
  }
  return out;
}

}  // namespace tailrace::target::postgres
