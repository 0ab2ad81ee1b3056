#include "pg/connect_failure.h"

#include <fmt/format.h>

#include "base/sql_text.h"

namespace tailrace::pg {

std::string connect_remedy(std::string_view message, const ConnectingAs& as) {
  if (message.find("password authentication failed") != std::string_view::npos ||
      message.find("no password supplied") != std::string_view::npos) {
    return "Check the user and the password; a password may stand in the URL, in PGPASSWORD or in ~/.pgpass";
  }
  if (message.find("no pg_hba.conf entry") != std::string_view::npos) {
    return "Add a line for this user, database and address to pg_hba.conf on the server and reload it";
  }
  if (message.find("could not translate host name") != std::string_view::npos) {
    return "Check the host name in the connection string";
  }
  if (message.contains("database \"") && message.contains("does not exist"))
    return "Check the database's name in the connection string, or make it there: CREATE DATABASE";
  if (message.contains("role \"") && message.contains("does not exist"))
    return "Check the user in the connection string, or make it there: CREATE ROLE ... LOGIN";
  if (message.contains("not permitted to log in"))
    return fmt::format(
        "There, as a superuser: ALTER ROLE {} LOGIN; or name another user in the connection string",
        quote_identifier(as.user));
  if (message.contains("permission denied for database"))
    return fmt::format("There, as the database's owner: GRANT CONNECT ON DATABASE {} TO {};",
                       quote_identifier(as.database), quote_identifier(as.user));
  if (message.contains("start walsender") || message.contains("start WAL sender"))
    return fmt::format("There, as a superuser: ALTER ROLE {} REPLICATION;", quote_identifier(as.user));
  if (message.contains("exceeds max_wal_senders") || message.contains("exceeds \"max_wal_senders\""))
    return "ALTER SYSTEM SET max_wal_senders = 10;  -- or 5 more than it is; then restart the server";
  if (message.contains("too many connections for role"))
    return fmt::format("There, as a superuser: ALTER ROLE {} CONNECTION LIMIT -1;", quote_identifier(as.user));
  if (message.contains("does not match host name"))
    return "Connect by a name that the certificate has (hostaddr= tells the address apart from it), or give "
           "the "
           "server a certificate for this one; sslmode=verify-ca looks at who signed it alone";
  if (message.contains("certificate verify failed") || message.contains("root certificate file"))
    return "Name the certificate of who signed the server's: sslrootcert=FILE";
  // As of a certificate whose issuer has the right name and another key: "invalid padding".
  if (message.contains("SSL error: "))
    return "No encrypted connection came about: whoever answers may not be the server, or its certificate is "
           "of "
           "another authority than the one in sslrootcert";
  if (message.contains("does not support SSL"))
    return "Switch TLS on at the server (ssl = on), or do without it: sslmode=prefer";
  if (message.find("startup parameter: replication") != std::string_view::npos)
    return "A pooler passes no replication on; give the address of the server itself";
  // Last, for of several addresses the one that answers says more.
  if (message.contains("Connection refused") || message.contains("No such file or directory"))
    return "Check that the server runs and listens at this address and port";
  return {};
}

bool connect_may_succeed_later(std::string_view message) {
  for (auto hopeless :
       {"authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist",
        "permission denied", "must be superuser", "not permitted to log in", "startup parameter: replication",
        "does not match host name", "certificate verify failed", "root certificate file",
        "does not support SSL", "(currently 0)"}) {
    // "No such file or directory" (a socket of a server that is down) is hopeful, "database x does not exist"
    // not.
    if (message.find(hopeless) != std::string_view::npos) return false;
  }
  return true;
}

}  // namespace tailrace::pg
