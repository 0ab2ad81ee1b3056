#pragma once
// Origins: by which replication origins a subscription's own rows are told from what others write at the target
// (PostgreSQL documentation: "Replication Progress Tracking"). An origin is one session's at a time, so copies
// have origins of their own, all of one family of names.

#include <map>
#include <set>
#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// Of the connection of this number that applies: `tailrace_NAME`, `tailrace_NAME/1` ... No name holds a slash.
std::string apply_origin(const std::string& subscription, int number = 0);
/// The application_name of the connections that apply.
std::string apply_application(const std::string& subscription);
/// Makes those of the first `count` connections that are missing, so that they are known before they are used.
void make_origins(pg::Connection& connection, const std::string& subscription, int count);

enum class OriginOutcome { used, busy, refused };
/// Lets the session write under this origin, which is made if it is missing. `busy`: another session has it.
/// `refused`: not permitted, or no place for one more; `why` says so.
OriginOutcome use_origin(pg::Connection& connection, const std::string& name, std::string& why);

/// Throws if the origin is busy because a subscription of this name applies to another database of the server.
void check_name_is_free(pg::Connection& connection, const std::string& subscription);

/// Lets a session that copies write under an origin `tailrace_NAME/copy_N` that no other has. False: none is to
/// be had; `why` says so.
bool use_copy_origin(pg::Connection& connection, const std::string& subscription, std::string& why);

/// The origins of the subscription.
std::set<std::string> origins_of(pg::Connection& connection, const std::string& subscription);
/// Drops them, but those of `kept`. Says which.
std::set<std::string> drop_origins(pg::Connection& connection, const std::string& subscription,
                                   const std::set<std::string>& kept = {});

/// Who wrote a row, by the number that its origin has on this server. One thread.
class Writers {
 public:
  /// Notes for others that this subscription's source is called `source`, and reads what is known.
  void load(pg::Connection& connection, const std::string& subscription, const std::string& source);

  /// The numbers of the subscription's own origins, as an array in SQL.
  const std::string& own() const { return own_; }
  /// A name that is the same at every node: of the database where it was written, if that is known.
  std::string name_of(const std::string& origin) const;
  /// For people: the origin's name; "local" for none.
  std::string origin_name(const std::string& origin) const;

 private:
  struct Origin {
    std::string name;
    std::string writer;
  };
  std::map<std::string, Origin> origins_;
  std::string here_;
  std::string own_;
};

}  // namespace tailrace::target::postgres
