/* The end of a complete fill, and what the store is told of it. Only keep.c touches the fields. Thread: fetch loop, but
 * for what is marked. */
#ifndef ENTREPOT_FILL_KEEP_H
#define ENTREPOT_FILL_KEEP_H

#include <pthread.h>

#include "common/fill/fill.h"
#include "common/core/workpool.h"
#include "common/fill/step.h"
#include "common/oci/manifest.h"

struct keep {
    char *scopes[4];             /* names: there is a number only for what was found */
    unsigned n_scopes, n_handed; /* n_handed: how many the store was told with the bytes */
    unsigned from_start;         /* readers that want it from its start: of many ranges of one client, one does */
    struct loop_task committed;
    int commit_code;
    /* A manifest, once it is read. */
    struct work reading;
    struct loop_task read;
    struct manifest doc; /* without references if it could not be parsed */
    bool parsed, is_manifest;
    int read_code; /* its bytes could not be read back */
    /* While it is one of struct kept_manifests. */
    struct fill *next_kept, **link_kept;
};

/* Manifests that readers have whole, and that the store has not taken in yet. */
struct kept_manifests {
    pthread_mutex_t lock; /* their scopes change under it, too */
    struct fill *first;
};

void kept_manifests_init(struct kept_manifests *k);
void kept_manifests_fini(struct kept_manifests *k);
/* Any thread. As fill_keeps_manifest. */
bool kept_manifests_have(struct kept_manifests *k, const struct digest *d, const char *scope);

void keep_fini(struct fill *f);
/* Copied. What does not fit is asked for again. */
void keep_add_scope(struct fill *f, const char *scope);
bool keep_has_scope(const struct fill *f, const char *scope);
/* A reader wants it from its start. */
void keep_add_use(struct fill *f);
/* STEP_FINISHING: all bytes are in and hashed. If they are what was asked for, readers get the rest and the store the
 * file. */
enum fill_step keep_finish(struct fill *f) must_check;
/* STEP_READING */
enum fill_step keep_read(struct fill *f) must_check;
/* True if it is committing: then it ends soon by itself, and need not be stopped. */
bool keep_is_ending(const struct fill *f);
/* STEP_COMMITTING */
enum fill_step keep_commit(struct fill *f) must_check;

#endif
