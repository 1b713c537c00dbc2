/* hosted.db: schema, statements and loading. Thread: one at a time; the record's lock (hosted.c) ensures that. */
#ifndef ENTREPOT_WAREHOUSE_HOSTED_DB_H
#define ENTREPOT_WAREHOUSE_HOSTED_DB_H

#include <sqlite3.h>

#include "central/warehouse/hosted.h"

enum hosted_statement {
    HOSTED_PUT_REPO,
    HOSTED_PUT_BLOB,
    HOSTED_PUT_MEMBER,
    HOSTED_PUT_MANIFEST,
    HOSTED_PUT_CHILD,
    HOSTED_PUT_TAG,
    HOSTED_GET_BLOB,
    HOSTED_GET_CHILDREN,
    HOSTED_GET_REPOS,
    HOSTED_EACH_TAG,
    HOSTED_STATEMENTS
};

struct hosted_db {
    sqlite3 *db;
    sqlite3_stmt *statements[HOSTED_STATEMENTS];
};

/* Opens or creates the file and checks it. *made: it was created. ERR_CORRUPT: it is damaged, or not such a file. */
int hosted_db_open(struct hosted_db *b, const char *path, bool *made, struct error *err) must_check;
void hosted_db_close(struct hosted_db *b);
int hosted_db_exec(struct hosted_db *b, const char *sql, struct error *err) must_check;
/* True if the takeover into this file is complete. */
bool hosted_db_is_complete(struct hosted_db *b);
/* Receives every blob and every tag. A row that is not valid is ERR_CORRUPT, except during a salvage, which skips
 * it. */
struct hosted_loader {
    void (*blob)(const struct digest *d, int64_t size, void *arg);
    void (*tag)(const char *repo, const char *tag, const struct tag_facts *t, void *arg);
    void *arg;
};
int hosted_db_load(struct hosted_db *b, const struct hosted_loader *l, struct error *err) must_check;
/* Call inside a transaction. */
int hosted_db_put(struct hosted_db *b, const char *repo, const struct hosted_blob *blob, struct error *err) must_check;
int hosted_db_put_tag(struct hosted_db *b, const char *repo, const char *tag, const struct tag_facts *t,
                      struct error *err) must_check;
int hosted_db_find(struct hosted_db *b, const struct digest *d, struct hosted_blob *out, char ***repos,
                   struct error *err) must_check;
int hosted_db_each_tag(struct hosted_db *b,
                       void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg,
                       struct error *err) must_check;
int hosted_db_each_place(struct hosted_db *b,
                         void (*fn)(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg),
                         void *arg, struct error *err) must_check;
/* Copies into b all that can be read from the damaged file at path. */
void hosted_db_salvage(struct hosted_db *b, const char *path);

#endif
