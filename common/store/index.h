/* The index's schema and statements: what survives a restart besides the files themselves. Thread: the index writer for
 * everything that takes a struct index; loading and reading with a connection of the caller's own. */
#ifndef ENTREPOT_STORE_INDEX_H
#define ENTREPOT_STORE_INDEX_H

#include <sqlite3.h>

#include "common/store/tag.h"
#include "common/store/table.h"

#define INDEX_VERSION 1
extern const char index_schema[];

/* Statements, prepared when first needed; the writer finalises them when it closes the connection. */
struct index {
    sqlite3_stmt *statements[16];
};

/* 0 if db has our schema, 1 if it is empty; ERR_CORRUPT when it is something else; as SQLite says otherwise. */
int index_check(sqlite3 *db, struct error *err) must_check;

/* All return 0 or a negative error. */
int index_put_blob(struct index *ix, sqlite3 *db, const struct digest *d, const struct table_value *v, int64_t used_at);
/* Leaves a row that is there as it is. */
int index_adopt_blob(struct index *ix, sqlite3 *db, const struct digest *d, const struct table_value *v,
                     int64_t used_at);
int index_put_scope_of(struct index *ix, sqlite3 *db, const struct digest *d, uint32_t scope);
int index_put_children(struct index *ix, sqlite3 *db, const struct digest *parent, const struct digest *children,
                       size_t n);
int index_put_repo(struct index *ix, sqlite3 *db, const char *repo, const struct digest *manifest);
int index_put_used(struct index *ix, sqlite3 *db, const struct digest *d, int64_t used_at, unsigned freq);
int index_drop_blob(struct index *ix, sqlite3 *db, const struct digest *d, bool manifest);
int index_put_media(struct index *ix, sqlite3 *db, uint32_t id, const char *name);
int index_put_scope(struct index *ix, sqlite3 *db, uint32_t id, const char *name);
int index_drop_scope(struct index *ix, sqlite3 *db, uint32_t id);
int index_put_tag(struct index *ix, sqlite3 *db, const char *repo, const char *tag, const struct tag_facts *rec);
int index_drop_tag(struct index *ix, sqlite3 *db, const char *repo, const char *tag);

/* Everything, in an order that lets each refer to what came before; rows that make no sense are skipped. A callback
 * that returns false makes the index count as damaged. */
struct index_loader {
    bool (*media)(uint32_t id, const char *name, void *arg);
    bool (*scope)(uint32_t id, const char *name, void *arg);
    void (*count)(int64_t blobs, void *arg);
    bool (*blob)(const struct digest *d, struct table_value *v, uint32_t used_at, unsigned freq, void *arg);
    void (*scope_of)(const struct digest *d, uint32_t scope, void *arg);
    void (*tag)(const char *repo, const char *tag, const struct tag_facts *rec, void *arg);
    void *arg;
};
int index_load(sqlite3 *db, const struct index_loader *l, struct error *err) must_check;

#endif
