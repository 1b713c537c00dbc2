/* Counts hosted images, and handles blobs that are held again. Thread: see state.h. */
#include "central/warehouse/state.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/workpool.h"

#define NAMED_MAX 10

/* A hosted blob that the store holds again. */
struct come_back {
    struct work work;
    struct hosted *record;
    struct store *store;
    struct digest digest;
};

/* Work pool. The blob's bytes have been proved by whoever added them, or verify is about to do so. */
static void run_come_back(struct work *w) {
    struct come_back *b = container_of(w, struct come_back, work);
    struct error err = {0};
    char digest[DIGEST_STR_MAX];
    int r = hosted_restore(b->record, b->store, "", &b->digest, false, &err);
    if (r < 0 && r != ERR_NOT_FOUND)
        log_warn("hosted_not_restored", KV_S("digest", digest_str(&b->digest, digest)), KV_S("why", err.msg));
    free(b);
}

void hosted_state_init(struct hosted_state *s, struct hosted *record, struct store *store, struct workpool *pool) {
    *s = (struct hosted_state){.record = record, .store = store, .pool = pool};
    s->changed = true;
    pthread_mutex_init(&s->lock, NULL);
}

void hosted_state_fini(struct hosted_state *s) {
    workpool_wait_idle(s->pool);
    pthread_mutex_destroy(&s->lock);
}

static void submit_come_back(struct hosted_state *s, const struct digest *d) {
    struct come_back *b = xcalloc(1, sizeof(*b));
    *b = (struct come_back){{.fn = run_come_back}, s->record, s->store, *d};
    workpool_submit(s->pool, &b->work);
}

void hosted_state_changed(struct hosted_state *s, const struct digest *d, bool held) {
    char digest[DIGEST_STR_MAX];
    if (!hosted_knows(s->record, d, NULL)) return;
    s->changed = true;
    if (held)
        submit_come_back(s, d);
    else
        log_error("hosted_missing", KV_S("digest", digest_str(d, digest)),
                  KV_S("then", "put its file back into blobs/, or load the image again: entrepot-central load"));
}

void hosted_state_recount(struct hosted_state *s) {
    s->changed = true;
}

void hosted_state_get(struct hosted_state *s, struct hosted_counts *counts, struct hosted_missing *missing) {
    hosted_count(s->record, counts);
    pthread_mutex_lock(&s->lock);
    if (atomic_exchange(&s->changed, false)) hosted_each_missing(s->record, s->store, NULL, NULL, &s->missing);
    *missing = s->missing;
    pthread_mutex_unlock(&s->lock);
}

/* --- JSON --- */

struct named {
    struct digest digests[NAMED_MAX];
    size_t n;
};

static void name(const struct digest *d, void *arg) {
    struct named *list = arg;
    if (list->n < NAMED_MAX) list->digests[list->n++] = *d;
}

static json_t *named_json(struct hosted_state *s) {
    struct named list = {.n = 0};
    struct hosted_missing missing = {0};
    json_t *out = json_array();
    hosted_each_missing(s->record, s->store, name, &list, &missing);
    for (size_t i = 0; i < list.n; i++) {
        struct hosted_blob b;
        char **repos, digest[DIGEST_STR_MAX];
        json_t *in = json_array();
        if (hosted_find(s->record, "", &list.digests[i], &b, &repos, NULL) == 0) {
            for (char **repo = repos; *repo; repo++)
                json_array_append_new(in, json_string(*repo));
            hosted_blob_fini(&b);
            hosted_repos_free(repos);
        }
        json_array_append_new(
            out, json_pack("{s:s, s:o}", "digest", digest_str(&list.digests[i], digest), "repositories", in));
    }
    return out;
}

static const char *doubt(struct hosted_state *s) {
    if (hosted_takeover_due(s->record))
        return "the record of what is hosted (hosted.db) could not be written: nothing is evicted until a start that "
               "can";
    if (hosted_is_doubtful(s->record))
        return "the record of what is hosted (hosted.db) was lost or damaged, and may lack images: nothing is evicted";
    return NULL;
}

json_t *hosted_state_json(struct hosted_state *s, bool names) {
    struct hosted_counts counts;
    struct hosted_missing missing;
    hosted_state_get(s, &counts, &missing);
    json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s?, s:s}", "tags", (json_int_t)counts.tags, "blobs",
                          (json_int_t)counts.blobs, "bytes", (json_int_t)counts.bytes, "missing", (json_int_t)missing.n,
                          "missing_bytes", (json_int_t)missing.bytes, "doubt", doubt(s), "notice", HOSTED_NOTICE);
    if (names) json_object_set_new(j, "missing_blobs", named_json(s));
    return j;
}
