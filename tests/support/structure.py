"""A schema with one of nearly everything, and the comparison of two databases' structure.

The comparison asks both servers the same questions and is independent of how tailrace reads a structure. What
versions print differently is put into one form first.
"""
import re

# (lowest version, SQL): a server is given the parts that both it and its counterpart know, see rich_schema().
RICH_SCHEMA = [
    (13, r"""
CREATE SCHEMA shop; CREATE SCHEMA "Odd Schema"; CREATE SCHEMA helper; CREATE SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA ext;
COMMENT ON SCHEMA shop IS 'it''s the shop';

CREATE COLLATION shop.plain (LOCALE = 'C');
CREATE TYPE shop.mood AS ENUM ('sad', 'it''s ok');
ALTER TYPE shop.mood ADD VALUE 'happy'; ALTER TYPE shop.mood ADD VALUE 'middling' BEFORE 'happy';
CREATE TYPE helper.unused_here AS ENUM ('a');
CREATE TYPE helper."Weight Unit" AS ENUM ('kg', 'lb');
CREATE FUNCTION helper.is_code(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 ~ '^[A-Z]+$' $$;
CREATE DOMAIN shop.code AS varchar(10) COLLATE "C" DEFAULT 'ABC' CONSTRAINT is_code CHECK (helper.is_code(VALUE::text))
  CONSTRAINT short CHECK (length(VALUE) < 9);
CREATE DOMAIN shop.amount AS numeric(12, 2) NOT NULL;
CREATE DOMAIN shop.amounts AS numeric[] CONSTRAINT filled CHECK (cardinality(VALUE) > 0);
ALTER DOMAIN shop.amounts ADD CONSTRAINT few CHECK (cardinality(VALUE) < 1000) NOT VALID;
COMMENT ON DOMAIN shop.code IS 'a code'; COMMENT ON CONSTRAINT short ON DOMAIN shop.code IS 'short enough';
CREATE TYPE shop.address AS (street text COLLATE "C", zip varchar(9), mood shop.mood, "Weight" helper."Weight Unit");
COMMENT ON TYPE shop.address IS 'where'; COMMENT ON COLUMN shop.address.zip IS 'the zip';
CREATE FUNCTION shop.minutes_between(a time, b time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
  AS $$ SELECT extract(epoch FROM a - b)::float8 / 60 $$;
CREATE TYPE shop.time_range AS RANGE (SUBTYPE = time, SUBTYPE_DIFF = shop.minutes_between);
CREATE TYPE shop.word_range AS RANGE (SUBTYPE = text, COLLATION = "C");
COMMENT ON TYPE shop.mood IS 'a mood';

CREATE SEQUENCE shop.tickets AS smallint INCREMENT BY -3 MINVALUE -1000 MAXVALUE 900 START WITH 9 CACHE 5 CYCLE;
COMMENT ON SEQUENCE shop.tickets IS 'tickets';
CREATE FUNCTION shop.next_ticket() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('shop.tickets'); END $$;

CREATE TABLE shop.customers (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 10 MAXVALUE 1000000 CACHE 7) PRIMARY KEY,
  "Full Name" text NOT NULL COLLATE "C", code shop.code, mood shop.mood DEFAULT 'it''s ok', moods shop.mood[],
  home shop.address, credit shop.amount DEFAULT 0, tags ext.hstore, open shop.time_range, words shop.word_range,
  dropped int, ticket bigint DEFAULT shop.next_ticket(), serial_no serial, since timestamptz(3) DEFAULT now(),
  span interval day to second(2), bits bit varying(7), marks "char", matrix int[][] DEFAULT '{{1,2},{3,4}}',
  lower_name text GENERATED ALWAYS AS (lower("Full Name")) STORED, spare shop.amounts, unit helper."Weight Unit",
  CONSTRAINT credit_ok CHECK (credit >= 0 AND "Full Name" <> ''), CONSTRAINT never CHECK (ticket <> 7) NO INHERIT
) WITH (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_vacuum_scale_factor = 0.4);
ALTER TABLE shop.customers DROP COLUMN dropped;
ALTER TABLE shop.customers ADD CONSTRAINT not_checked CHECK (serial_no > 0) NOT VALID;
ALTER TABLE shop.customers ALTER COLUMN "Full Name" SET STORAGE EXTERNAL, ALTER COLUMN code SET STATISTICS 500,
  ALTER COLUMN mood SET (n_distinct = 4);
ALTER TABLE shop.customers ADD CONSTRAINT customers_code UNIQUE (code, mood) INCLUDE (since) WITH (fillfactor = 90)
  DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX customers_lower ON shop.customers (lower("Full Name") DESC NULLS LAST)
 WITH (fillfactor = 70) WHERE mood <> 'sad';
CREATE INDEX customers_trigram ON shop.customers USING gin ("Full Name" ext.gin_trgm_ops);
CREATE INDEX "Customers Brin" ON shop.customers USING brin (since) WITH (pages_per_range = 4);
CREATE UNIQUE INDEX customers_serial ON shop.customers (serial_no);
ALTER TABLE shop.customers CLUSTER ON customers_pkey;

ALTER TABLE shop.customers ALTER COLUMN serial_no SET NOT NULL;
ALTER TABLE shop.customers REPLICA IDENTITY USING INDEX customers_serial;
CREATE STATISTICS shop.customers_stats (ndistinct, dependencies) ON code, mood FROM shop.customers;
ALTER STATISTICS shop.customers_stats SET STATISTICS 42;
COMMENT ON TABLE shop.customers IS 'who buys'; COMMENT ON COLUMN shop.customers."Full Name" IS 'all of it';
COMMENT ON INDEX shop.customers_trigram IS 'for search'; COMMENT ON CONSTRAINT credit_ok ON shop.customers IS 'ok';
COMMENT ON STATISTICS shop.customers_stats IS 'stats';

CREATE TABLE shop.bookings (
  room int, during tstzrange, customer bigint REFERENCES shop.customers ON DELETE SET NULL ON UPDATE CASCADE
    DEFERRABLE, parent_room int, PRIMARY KEY (room),
  CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0),
  CONSTRAINT self FOREIGN KEY (parent_room) REFERENCES shop.bookings (room)
);
ALTER TABLE shop.bookings REPLICA IDENTITY FULL;
ALTER TABLE shop.bookings ADD CONSTRAINT later FOREIGN KEY (customer) REFERENCES shop.customers NOT VALID;

CREATE TABLE "Odd Schema"."Odd ""Table" ("select" int PRIMARY KEY, "a.b" text DEFAULT E'tab\tquote''back\\');
COMMENT ON COLUMN "Odd Schema"."Odd ""Table"."a.b" IS 'dotted';

CREATE TABLE shop.base (id int NOT NULL, note text DEFAULT 'base', n int CONSTRAINT positive CHECK (n > 0));
CREATE TABLE shop.other_base (extra date, id int NOT NULL);
CREATE TABLE shop.child (own int DEFAULT 5, note text DEFAULT 'own note', PRIMARY KEY (id))
  INHERITS (shop.base, shop.other_base);
ALTER TABLE shop.child ALTER COLUMN n SET DEFAULT 3, ALTER COLUMN extra SET NOT NULL;
ALTER TABLE shop.child ADD CONSTRAINT child_only CHECK (own < 100);
CREATE TABLE shop.adopted (n int CHECK (n < 50), extra_first text, note text, id int NOT NULL,
  CONSTRAINT positive CHECK (n > 0));
ALTER TABLE shop.adopted INHERIT shop.base;
CREATE TABLE shop.places OF shop.address (zip WITH OPTIONS DEFAULT '0000' NOT NULL, street PRIMARY KEY);

CREATE FUNCTION shop.is_good(shop.bookings) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1.room > 0 $$;
ALTER TABLE shop.bookings ADD CONSTRAINT good CHECK (shop.is_good(bookings.*));

CREATE TABLE shop.orders (
  id bigint GENERATED BY DEFAULT AS IDENTITY, placed date NOT NULL, region text NOT NULL DEFAULT 'eu',
  customer bigint, total numeric(10, 2) CONSTRAINT total_ok CHECK (total >= 0), PRIMARY KEY (id, placed, region)
) PARTITION BY RANGE (placed);
CREATE TABLE shop.orders_2023 PARTITION OF shop.orders FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE shop.orders_2024 PARTITION OF shop.orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
  PARTITION BY LIST (region);
CREATE TABLE shop.orders_2024_eu PARTITION OF shop.orders_2024 (total DEFAULT 1) FOR VALUES IN ('eu', 'it''s', NULL);
CREATE TABLE shop.orders_2024_rest (region text NOT NULL, junk int, total numeric(10, 2), customer bigint,
  id bigint NOT NULL, placed date NOT NULL, CONSTRAINT total_ok CHECK (total >= 0), CONSTRAINT own CHECK (id > 0));
ALTER TABLE shop.orders_2024_rest DROP COLUMN junk;
ALTER TABLE shop.orders_2024 ATTACH PARTITION shop.orders_2024_rest DEFAULT;
CREATE TABLE helper.orders_rest PARTITION OF shop.orders DEFAULT;
CREATE TABLE shop.hashed (k text, v int) PARTITION BY HASH (lower(k), v);
CREATE TABLE shop.hashed_0 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 55);
CREATE TABLE shop.hashed_1 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE shop.orders ADD CONSTRAINT buyer FOREIGN KEY (customer) REFERENCES shop.customers;
CREATE INDEX odd_name_2023 ON shop.orders_2023 (total); CREATE INDEX alone ON shop.orders_2023 (customer, id);
CREATE INDEX orders_total ON shop.orders (total);
CREATE INDEX orders_incomplete ON ONLY shop.orders (region);
CREATE INDEX orders_2023_region ON shop.orders_2023 (region);
ALTER INDEX shop.orders_incomplete ATTACH PARTITION shop.orders_2023_region;
CREATE TABLE shop.order_notes (id bigint, placed date, region text, note text,
  FOREIGN KEY (id, placed, region) REFERENCES shop.orders ON DELETE CASCADE);
COMMENT ON TABLE shop.orders_2023 IS 'one year'; COMMENT ON INDEX shop.odd_name_2023 IS 'of a partition';

CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.since := now(); RETURN NEW; END $$;
CREATE FUNCTION shop.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF "Full Name", code ON shop.customers FOR EACH ROW
  WHEN (NEW.credit > 0) EXECUTE FUNCTION shop.stamp();
CREATE TRIGGER watch AFTER UPDATE ON shop.customers REFERENCING OLD TABLE AS o NEW TABLE AS n
  FOR EACH STATEMENT EXECUTE FUNCTION shop.watch('it''s', 'two');
CREATE CONSTRAINT TRIGGER much_later AFTER INSERT ON shop.bookings DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION shop.watch();
CREATE TRIGGER off AFTER DELETE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.watch();
CREATE TRIGGER always AFTER DELETE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.watch();
CREATE TRIGGER replica AFTER DELETE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.watch();
ALTER TABLE shop.customers DISABLE TRIGGER off, ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
CREATE TRIGGER each_order AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.watch();
CREATE TRIGGER only_2023 AFTER INSERT ON shop.orders_2023 FOR EACH ROW EXECUTE FUNCTION shop.watch();
ALTER TABLE ONLY shop.orders_2023 DISABLE TRIGGER each_order;
COMMENT ON TRIGGER stamp ON shop.customers IS 'stamps';

CREATE PROCEDURE shop.clean(INOUT n int, days int DEFAULT 3) LANGUAGE plpgsql AS $$ BEGIN n := days; END $$;
CREATE FUNCTION shop.many(VARIADIC ids int[]) RETURNS TABLE (a int, b text) LANGUAGE plpgsql STABLE PARALLEL SAFE
  COST 7 ROWS 3 SECURITY DEFINER SET search_path = shop, pg_temp SET work_mem = '8MB'
  AS $$ BEGIN RETURN QUERY SELECT 1, 'x $body$ ''y'''; END $$;
CREATE FUNCTION shop.of_customer(c shop.customers) RETURNS text LANGUAGE sql STABLE AS 'SELECT c."Full Name"';
CREATE FUNCTION shop.grow(state numeric, value numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
  AS $$ SELECT coalesce(state, 0) + coalesce(value, 0) $$;
CREATE FUNCTION shop.shrink(state numeric, value numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
  AS $$ SELECT state - value $$;
CREATE AGGREGATE shop.total(numeric) (SFUNC = shop.grow, STYPE = numeric, INITCOND = '0', COMBINEFUNC = shop.grow,
  PARALLEL = SAFE, MSFUNC = shop.grow, MINVFUNC = shop.shrink, MSTYPE = numeric, MINITCOND = '0');
CREATE FUNCTION shop.one_more(state bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT state + 1 $$;
CREATE AGGREGATE shop.how_many(*) (SFUNC = shop.one_more, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE shop.top(int) (SFUNC = pg_catalog.int4larger, STYPE = int, SORTOP = >);

CREATE AGGREGATE shop.middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
  FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);

COMMENT ON FUNCTION shop.many(int[]) IS 'many'; COMMENT ON AGGREGATE shop.how_many(*) IS 'counts';
COMMENT ON PROCEDURE shop.clean(int, int) IS 'cleans'; COMMENT ON AGGREGATE shop.total(numeric) IS 'sums';

CREATE VIEW shop.rich WITH (security_barrier) AS
  SELECT c.id, c."Full Name" AS name, count(o.id) AS orders FROM shop.customers c
  LEFT JOIN shop.orders o ON o.customer = c.id WHERE c.credit > 10 GROUP BY c.id;
CREATE VIEW shop.a_needs_b AS SELECT 1::bigint AS x;
CREATE VIEW shop.b AS SELECT id AS x, name FROM shop.rich;
CREATE OR REPLACE VIEW shop.a_needs_b AS SELECT x FROM shop.b;

CREATE VIEW shop.checked AS SELECT id, note FROM shop.base WHERE id > 0 WITH LOCAL CHECK OPTION;
ALTER VIEW shop.checked ALTER COLUMN note SET DEFAULT 'from the view';
CREATE VIEW shop.loop AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r;
CREATE FUNCTION shop.rich_ones() RETURNS SETOF shop.rich LANGUAGE sql STABLE AS 'SELECT * FROM shop.rich';
CREATE VIEW shop.through_function AS SELECT name FROM shop.rich_ones();
CREATE MATERIALIZED VIEW shop.per_region AS SELECT region, shop.total(total) AS total FROM shop.orders GROUP BY 1;
CREATE UNIQUE INDEX per_region_key ON shop.per_region (region);
CREATE MATERIALIZED VIEW shop.of_matview AS SELECT count(*) FROM shop.per_region;
CREATE MATERIALIZED VIEW shop.empty AS SELECT 1 AS one WITH NO DATA;
CREATE RULE nothing AS ON DELETE TO shop.base DO INSTEAD NOTHING;
CREATE RULE sleeping AS ON INSERT TO shop.other_base WHERE NEW.id < 0
  DO ALSO DELETE FROM shop.order_notes WHERE order_notes.id = NEW.id;
ALTER TABLE shop.other_base DISABLE RULE sleeping;
CREATE TRIGGER instead INSTEAD OF INSERT ON shop.rich FOR EACH ROW EXECUTE FUNCTION shop.watch();
COMMENT ON VIEW shop.rich IS 'rich people'; COMMENT ON COLUMN shop.rich.name IS 'name';
COMMENT ON MATERIALIZED VIEW shop.per_region IS 'sums'; COMMENT ON RULE nothing ON shop.base IS 'rule';

ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.bookings ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.bookings FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.customers FOR SELECT USING (code = CURRENT_USER::text);
CREATE POLICY careful ON shop.customers AS RESTRICTIVE FOR UPDATE TO postgres USING (credit < 100)
  WITH CHECK (credit < 50 OR EXISTS (SELECT FROM shop.bookings b WHERE b.customer = customers.id));
CREATE POLICY several ON shop.bookings TO postgres, pg_monitor USING (room > 0);
COMMENT ON POLICY mine ON shop.customers IS 'mine';
"""),
    (14, r"""
ALTER TABLE shop.base ALTER COLUMN note SET COMPRESSION pglz;
CREATE FUNCTION shop.parsed(a int) RETURNS bigint LANGUAGE sql
  BEGIN ATOMIC SELECT count(*) FROM shop.customers WHERE serial_no > a; END;
CREATE TYPE shop.span AS RANGE (SUBTYPE = float8, MULTIRANGE_TYPE_NAME = shop.many_spans);
CREATE TABLE shop.spans (id int PRIMARY KEY, all_of_it shop.many_spans, days datemultirange);
CREATE STATISTICS shop.expression_stats ON (lower(region)), (total * 2) FROM shop.orders_2023;
"""),
    (15, r"""
CREATE TABLE shop.strict (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b),
  owner bigint, FOREIGN KEY (owner) REFERENCES shop.customers ON DELETE SET NULL (owner));
CREATE UNIQUE INDEX strict_index ON shop.strict (b) NULLS NOT DISTINCT;
CREATE VIEW shop.invoked WITH (security_invoker) AS SELECT a FROM shop.strict;
"""),
    (18, r"""
CREATE TABLE shop.modern (id int, big int GENERATED ALWAYS AS (id * 2) VIRTUAL, valid daterange,
  late int, CONSTRAINT named NOT NULL id, CONSTRAINT loose CHECK (id > 0) NOT ENFORCED,
  PRIMARY KEY (id, valid WITHOUT OVERLAPS));
ALTER TABLE shop.modern ADD CONSTRAINT late_one NOT NULL late NOT VALID;
CREATE TABLE shop.lonely (id int CONSTRAINT just_me NOT NULL NO INHERIT);
CREATE TABLE shop.periods (id int, valid daterange,
  FOREIGN KEY (id, PERIOD valid) REFERENCES shop.modern (id, PERIOD valid));
CREATE TABLE shop.unenforced (customer bigint REFERENCES shop.customers NOT ENFORCED);
"""),
]


def rich_schema(version):
    """What a server can have whose structure goes to one of this version, or that is of this version itself."""
    return "".join(sql for lowest, sql in RICH_SCHEMA if version >= lowest)


def table_oids(cluster, database):
    """All tables that are no partitions and that no extension owns."""
    return [oid for oid, in cluster.execute(
        "SELECT c.oid::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
        " AND d.deptype = 'e') ORDER BY 1", database)]


# The questions ------------------------------------------------------------------------------------------

# Objects of users: neither the server's own nor an extension's nor tailrace's.
def own(catalog, alias, namespace):
    return (f"JOIN pg_namespace n ON n.oid = {alias}.{namespace} AND n.nspname !~ '^pg_' AND n.nspname NOT IN"
            f" ('information_schema', 'tailrace') AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'"
            f" AND e.classid = 'pg_catalog.{catalog}'::regclass AND e.objid = {alias}.oid)")


RELATION = own("pg_class", "c", "relnamespace")


def questions(version, lowest):
    """{what: SQL}. version: of the server asked; lowest: of the two, so what only the newer one has stays out."""
    compression = "a.attcompression::text" if lowest >= 14 else "''"
    not_null = "true" if lowest >= 18 else "k.contype <> 'n'"
    locale = {17: "l.colllocale", 18: "l.colllocale", 15: "l.colliculocale", 16: "l.colliculocale"}.get(version, "NULL")
    return {
        "schemas": "SELECT n.nspname FROM pg_namespace n WHERE nspname !~ '^pg_' AND nspname <> 'tailrace'",
        "extensions": "SELECT x.extname, n.nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace",
        "relations": f"""
            SELECT n.nspname, c.relname, c.relkind, c.relpersistence, (SELECT array_agg(o ORDER BY o) FROM
              unnest(c.reloptions) o), (SELECT array_agg(o ORDER BY o) FROM pg_class t, unnest(t.reloptions) o
              WHERE t.oid = c.reltoastrelid), c.reloftype::regtype::text, CASE c.relkind WHEN 'p' THEN
              pg_get_partkeydef(c.oid) END, pg_get_expr(c.relpartbound, c.oid), c.relreplident, c.relrowsecurity,
              c.relforcerowsecurity, c.relispopulated, (SELECT array_agg(inhparent::regclass::text ORDER BY inhseqno)
              FROM pg_inherits WHERE inhrelid = c.oid)
            FROM pg_class c {RELATION} WHERE c.relkind NOT IN ('t', 'i', 'I')""",
        "columns": f"""
            SELECT n.nspname, c.relname, a.attname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
              format_type(a.atttypid, a.atttypmod), a.attndims, a.attcollation::regcollation::text, a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid), a.attgenerated, CASE WHEN NOT c.relispartition THEN a.attidentity END,
              a.attislocal, a.attinhcount, a.attstorage, coalesce(a.attstattarget, -1),
              (SELECT array_agg(o ORDER BY o) FROM unnest(a.attoptions) o WHERE o LIKE 'n_distinct%'), {compression}
            FROM pg_class c {RELATION} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
              AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'c')""",
        "constraints": f"""
            SELECT n.nspname, c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated,
              k.condeferrable, k.condeferred, k.conislocal, k.coninhcount,
              k.connoinherit AND k.contype IN ('c', 'n'), p.conname
            FROM pg_class c {RELATION} JOIN pg_constraint k ON k.conrelid = c.oid AND {not_null} AND k.contype <> 't'
              LEFT JOIN pg_constraint p ON p.oid = k.conparentid
            WHERE k.contype <> 'f' OR k.conparentid = 0""",
        "indexes": f"""
            SELECT n.nspname, c.relname, pg_get_indexdef(c.oid), i.indisvalid, i.indisclustered, i.indisreplident,
              i.indisprimary, i.indimmediate, (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid)
            FROM pg_class c {RELATION} JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid
            WHERE t.relkind <> 't'""",
        "triggers": f"""
            SELECT n.nspname, c.relname, t.tgname, t.tgenabled, CASE WHEN t.tgparentid = 0 THEN
              pg_get_triggerdef(t.oid) END
            FROM pg_class c {RELATION} JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname !~ '^(RI|PK)_'
            WHERE NOT t.tgisinternal OR t.tgparentid <> 0""",
        "rules": f"""
            SELECT n.nspname, c.relname, r.rulename, r.ev_enabled, pg_get_ruledef(r.oid) FROM pg_class c {RELATION}
            JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'""",
        "views": f"SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c {RELATION}"
                 " WHERE relkind IN ('v', 'm')",
        "functions": f"""
            SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prokind,
              CASE WHEN p.prokind <> 'a'
              THEN pg_get_functiondef(p.oid) ELSE pg_get_function_arguments(p.oid) || pg_get_function_result(p.oid) END,
              concat_ws(' ', a.aggkind, a.aggnumdirectargs, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
              a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra, a.aggmfinalextra,
              a.aggfinalmodify, a.aggmfinalmodify, a.aggsortop::regoperator, a.aggtranstype::regtype, a.aggtransspace,
              a.aggmtranstype::regtype, a.aggmtransspace, a.agginitval, a.aggminitval, p.proparallel)
            FROM pg_proc p {own("pg_proc", "p", "pronamespace")} LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
            WHERE {version} >= 14 AND {lowest} >= 14 OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND
              d.classid = 'pg_proc'::regclass AND d.deptype = 'i')""",
        "types": f"""
            SELECT n.nspname, t.typname, t.typtype, t.typnotnull, t.typdefault, t.typcollation::regcollation::text,
              format_type(t.typbasetype, t.typtypmod), t.typndims,
              (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
              (SELECT concat_ws(' ', r.rngsubtype::regtype, r.rngcollation::regcollation, r.rngsubdiff, r.rngcanonical,
                (SELECT opcname FROM pg_opclass WHERE oid = r.rngsubopc)) FROM pg_range r WHERE r.rngtypid = t.oid),
              (SELECT array_agg(concat_ws(' ', k.conname, pg_get_constraintdef(k.oid), k.convalidated)
                 ORDER BY k.conname)
                FROM pg_constraint k WHERE k.contypid = t.oid AND ({lowest} >= 17 OR k.contype <> 'n'))
            FROM pg_type t {own("pg_type", "t", "typnamespace")}
            WHERE t.typcategory <> 'A' AND coalesce((SELECT relkind FROM pg_class WHERE oid = t.typrelid), 'c') <> 'S'
              AND (t.typtype <> 'm' OR {lowest} >= 14)""",
        "collations": f"""
            SELECT n.nspname, l.collname, l.collprovider, l.collcollate, l.collctype,
              {locale if lowest >= 17 else "NULL"},
              l.collisdeterministic FROM pg_collation l {own("pg_collation", "l", "collnamespace")}""",
        "sequences": f"""
            SELECT n.nspname, c.relname, s.seqtypid::regtype::text, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
              s.seqcache, s.seqcycle,
              (SELECT concat_ws(' ', d.deptype, d.refobjid::regclass, a.attname) FROM pg_depend d
              JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass)
            FROM pg_class c {RELATION} JOIN pg_sequence s ON s.seqrelid = c.oid""",
        "policies": f"""
            SELECT n.nspname, c.relname, p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
              pg_get_expr(p.polwithcheck, p.polrelid), (SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles
              WHERE oid = ANY (p.polroles)) FROM pg_class c {RELATION} JOIN pg_policy p ON p.polrelid = c.oid""",
        "statistics": f"""
            SELECT n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid), coalesce(s.stxstattarget, -1)
            FROM pg_statistic_ext s {own("pg_statistic_ext", "s", "stxnamespace")}""",
        "comments": """
            SELECT i.type, i.identity, d.description FROM pg_description d,
              pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE d.objoid >= 16384
              AND i.type NOT IN ('extension', 'publication')
              AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid
              AND e.deptype = 'e') AND i.identity !~ '^tailrace'""",
    }


PRIVILEGES = {
    "owners": f"SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner), c.relacl::text FROM pg_class c {RELATION}"
              " WHERE c.relkind NOT IN ('t')",
    "column privileges": "SELECT a.attrelid::regclass::text, a.attname, a.attacl::text FROM pg_attribute a"
                         f" JOIN pg_class c ON c.oid = a.attrelid {RELATION} WHERE a.attacl IS NOT NULL",
    "owners of functions": "SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner), p.proacl::text"
                           f" FROM pg_proc p {own('pg_proc', 'p', 'pronamespace')}",
    "owners of types": f"SELECT t.oid::regtype::text, pg_get_userbyid(t.typowner), t.typacl::text FROM pg_type t"
                       f" {own('pg_type', 't', 'typnamespace')} WHERE t.typcategory <> 'A'",
}


# The comparison -----------------------------------------------------------------------------------------

def generation(version):
    """Servers of one generation print definitions alike."""
    return (version >= 14) + (version >= 16)


def canonical(value, deparses_alike):
    """From 14 on a procedure's parameters are printed with IN; from 16 on, columns without their only table."""
    if deparses_alike or not isinstance(value, str):
        return value
    value = re.sub(r'("[^"]*"|\w+)\.(?=["\w])', "", value)
    return re.sub(r"\bIN (?=\w)|[\s()]+", "", value)


def answers(cluster, database, lowest, deparses_alike, privileges):
    out = {}
    with cluster.connect(database) as connection:
        connection.execute("SET search_path = ''")
        asked = questions(cluster.version, lowest) | (PRIVILEGES if privileges else {})
        for what, sql in asked.items():
            rows = connection.execute(sql).fetchall()
            out[what] = sorted({repr(tuple(canonical(value, deparses_alike) for value in row)) for row in rows})
    return out


def compare_structure(source_cluster, source_db, target_cluster, target_db, privileges=False, ignore=()):
    """Raises AssertionError with every difference. ignore: names of questions() not to ask."""
    lowest = min(source_cluster.version, target_cluster.version)
    alike = generation(source_cluster.version) == generation(target_cluster.version)
    source = answers(source_cluster, source_db, lowest, alike, privileges)
    target = answers(target_cluster, target_db, lowest, alike, privileges)
    differences = []
    for what in source:
        if what in ignore:
            continue
        differences += [f"{what}: only at the source: {row}" for row in source[what] if row not in target[what]]
        differences += [f"{what}: only at the target: {row}" for row in target[what] if row not in source[what]]
    assert not differences, "\n".join(differences)
