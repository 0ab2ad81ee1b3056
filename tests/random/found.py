"""Programs that found something once, made shorter: {name: (source's version, target's or None for a file, steps)}."""

COPIED = [("setup",), ("start",), ("settle", "stop")]
ROTATION = [f"ALTER TABLE {old} RENAME TO {new}"
            for old, new in (("orders", "aside"), ("stock", "orders"), ("lots", "stock"), ("aside", "lots"))]

FOUND = {
    "a_column_came_back": (14, None, [
        *COPIED, ("sql", "readd_column", "UPDATE side.people SET at = '1 day 2:00' WHERE id % 5 = 1"),
        ("sql", "readd_column", "ALTER TABLE side.people RENAME at TO was; ALTER TABLE side.people ADD at interval"),
        ("settle", "stop")]),
    "a_column_came_back_while_it_was_away": (16, None, [
        *COPIED, ("stop",), ("sql", "readd_column", "UPDATE lots SET note = 'late' WHERE id < 5"),
        ("sql", "readd_column", "ALTER TABLE lots DROP note, ADD note text"), ("settle", "kill")]),
    "a_default_of_boxes": (15, None, [
        *COPIED, ("sql", "add_default", "ALTER TABLE lots ADD b box DEFAULT '((1,1),(0,0))'"), ("settle", "stop")]),
    "a_widened_column_and_kill": (15, None, [
        *COPIED, ("sql", "widened", "UPDATE lots SET price = 'NaN' WHERE id = 5"), ("settle", "kill")]),
    "interrupted_copies": (17, None, [
        ("setup",), *(("interrupted_copy", "interrupted_copy", how, percent)
                      for percent in ("30", "80") for how in ("kill", "term")), ("settle", "stop")]),
    "three_names_rotate": (18, None, [*COPIED, *(("sql", "rotate", text) for text in ROTATION), ("settle", "stop")]),
    "three_names_rotate_at_once": (13, None, [*COPIED, ("sql", "rotate", "; ".join(ROTATION)), ("settle", "kill")]),
    "a_strangers_name": (13, None, [
        *COPIED, ("guest", "guest_table", "theirs"), ("sql", "name_of_a_guest", "ALTER TABLE stock RENAME TO theirs"),
        ("sql", "widened", "INSERT INTO theirs (id, price) VALUES (1000, 'NaN')"), ("settle", "stop")]),
    "a_truncated_leaf": (15, None, [*COPIED, ("sql", "partition_truncate", "TRUNCATE parts_1"), ("settle", "stop")]),
    "an_attached_leaf": (16, None, [
        *COPIED, ("sql", "partition_attach", "CREATE TABLE more (LIKE parts INCLUDING ALL);"
                  " INSERT INTO more VALUES (900, 9, 'brought', 1); ALTER TABLE parts ATTACH PARTITION more"
                  " FOR VALUES IN (9)"), ("settle", "stop")]),
    "a_new_leaf_is_emptied": (13, None, [
        *COPIED, ("sql", "partition_create", "CREATE TABLE more PARTITION OF parts FOR VALUES IN (9)"),
        ("sql", "insert", "INSERT INTO parts VALUES (900, 9, 'new leaf', 1)"),
        ("sql", "partition_truncate", "TRUNCATE more"), ("settle", "kill")]),
    "a_leaf_came_and_went": (15, None, [
        *COPIED, ("stop",), ("sql", "partition_attach", "CREATE TABLE more (LIKE parts INCLUDING ALL);"
                             " INSERT INTO more VALUES (900, 9, 'brought', 1);"
                             " ALTER TABLE parts ATTACH PARTITION more FOR VALUES IN (9)"),
        ("sql", "delete", "DELETE FROM parts WHERE id % 3 = 0"),
        ("sql", "partition_detach", "ALTER TABLE parts DETACH PARTITION more"), ("settle", "stop")]),
    "unlogged_for_a_while": (17, None, [
        *COPIED, ("sql", "unlogged_for_a_while", "ALTER TABLE lots SET UNLOGGED"),
        ("sql", "unlogged_for_a_while", "DELETE FROM lots WHERE id < 5"),
        ("sql", "unlogged_for_a_while", "ALTER TABLE lots SET LOGGED"), ("settle", "stop")]),
    "the_default_is_split": (14, None, [
        *COPIED, ("sql", "split_default", "CREATE TABLE threes (LIKE parts INCLUDING ALL);"
                  " INSERT INTO threes SELECT * FROM parts_rest WHERE region = 3;"
                  " DELETE FROM parts_rest WHERE region = 3;"
                  " ALTER TABLE parts ATTACH PARTITION threes FOR VALUES IN (3)"),
        ("sql", "update", "UPDATE parts SET n = 1 WHERE id % 2 = 0"), ("settle", "stop")]),
    "a_table_comes_where_an_enum_is": (15, 16, [
        *COPIED, ("sql", "create_table", "CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1)"),
        ("settle", "stop")]),
    "another_name_while_a_copy_is_interrupted": (16, 13, [
        ("setup",), ("arm", "postgres.structure.committed:1"), ("kill", "20000"),
        ("sql", "rename_table", "ALTER TABLE orders RENAME TO others"), ("settle", "stop")]),
    "a_strangers_index_on_a_table_that_waits_for_its_name": (15, None, [
        *COPIED, ("guest", "guest_table", "theirs"), ("sql", "name_of_a_guest", "ALTER TABLE stock RENAME TO theirs"),
        ("settle", "stop"), ("guest_index", "guest_index", "by_hand", "public.theirs_2", "note"),
        ("guest_gone", "guest_leaves", "theirs"), ("sql", "insert", "INSERT INTO theirs (id) VALUES (1000)"),
        ("settle", "stop")]),
    "a_strangers_name_at_postgres": (18, 13, [
        *COPIED, ("guest", "guest_table", "theirs"), ("sql", "name_of_a_guest", "ALTER TABLE stock RENAME TO theirs"),
        ("sql", "delete", "DELETE FROM theirs WHERE id < 9"), ("settle", "stop")]),
}
