/* Tags, for whoever asks: in memory at once, their rows queued. Thread: any. */
#include <stdio.h>
#include <string.h>

#include "common/store/store_private.h"
#include "common/core/alloc.h"

struct tag_job {
    struct writer_job job;
    struct store *store;
    char *tag;
    char repo[];
};

/* As memory says by now. */
static void tag_run(struct writer_job *job, sqlite3 *db) {
    struct tag_job *j = container_of(job, struct tag_job, job);
    struct index *ix = &j->store->index;
    struct tag_facts rec;
    if (tags_get(j->store->tags, j->repo, j->tag, &rec))
        (void)index_put_tag(ix, db, j->repo, j->tag, &rec);
    else
        (void)index_drop_tag(ix, db, j->repo, j->tag);
}

static void tag_done(struct writer_job *job, int code) {
    (void)code; /* the writer has logged it; in memory the tag is right */
    free(container_of(job, struct tag_job, job));
}

static void submit(struct store *s, const char *repo, const char *tag) {
    size_t repo_len = strlen(repo), tag_len = strlen(tag);
    struct tag_job *j = xcalloc(1, sizeof(*j) + repo_len + tag_len + 2);
    j->job = (struct writer_job){.run = tag_run, .after_commit = tag_done, .persists = true};
    j->store = s;
    memcpy(j->repo, repo, repo_len);
    j->tag = j->repo + repo_len + 1;
    memcpy(j->tag, tag, tag_len);
    writer_submit(s->writer, &j->job);
}

bool store_tag_get(const struct store *s, const char *repo, const char *tag, struct tag_facts *out) {
    return tags_get(s->tags, repo, tag, out);
}

bool store_tag_holds_another(const struct store *s, const struct repo_name *repo, const char *tag,
                             const struct digest *manifest) {
    char name[REPO_STR_MAX];
    struct tag_facts last;
    struct blob_info info;
    return store_tag_get(s, repo_name_str(repo, name), tag, &last) && !digest_eq(&last.digest, manifest) &&
           store_lookup(s, &last.digest, &info);
}

/* --- no more than there may be --- */

#define TAGS_MAX 200000
/* How many tags go at a time, because finding them means looking at every tag. */
#define TRIM_SHARE 16

static int64_t tags_max(const struct store *s) {
    return s->cfg.tags_max ? (int64_t)s->cfg.tags_max : TAGS_MAX;
}

static bool may_go(const struct digest *d, void *arg) {
    struct table_value v;
    return !table_find(((struct store *)arg)->table, d, &v);
}

static void trim_run(struct writer_job *job, sqlite3 *db) {
    struct store *s = container_of(job, struct store, trim_tags);
    int64_t max = tags_max(s), over = store_eviction_held(s) ? 0 : tags_count(s->tags) - max;
    struct tag_name *names;
    size_t n = over > 0 ? tags_oldest(s->tags, (size_t)(over + max / TRIM_SHARE), may_go, s, &names) : 0, gone = 0;
    for (size_t i = 0; i < n; i++) {
        if (!guard_keeps_tag(s, names[i].repo, names[i].tag) && tags_forget(s->tags, names[i].repo, names[i].tag)) {
            (void)index_drop_tag(&s->index, db, names[i].repo, names[i].tag);
            gone++;
        }
        free(names[i].repo);
        free(names[i].tag);
    }
    if (n > 0) free(names);
    over = tags_count(s->tags) - max;
    /* Where some went, those over the bound may have come since: they are looked at at once. */
    atomic_store(&s->trim_tags_above, over > 0 && gone == 0 ? max + over + max / TRIM_SHARE : max);
}

/* Tags that were set while it ran may be too many again. */
static void trim_done(struct writer_job *job, int code) {
    struct store *s = container_of(job, struct store, trim_tags);
    (void)code; /* rows that stay are read at the next start, and go then */
    atomic_store(&s->trims_tags, false);
    tags_keep_bounded(s);
}

void tags_keep_bounded(struct store *s) {
    int64_t count = tags_count(s->tags);
    if (count <= tags_max(s) || count <= atomic_load(&s->trim_tags_above) || atomic_exchange(&s->trims_tags, true))
        return;
    s->trim_tags = (struct writer_job){.run = trim_run, .after_commit = trim_done};
    writer_submit(s->writer, &s->trim_tags);
}

void store_tag_set(struct store *s, const char *repo, const char *tag, const struct tag_facts *rec) {
    tags_set(s->tags, repo, tag, rec);
    submit(s, repo, tag);
    tags_keep_bounded(s);
}

void store_tag_forget(struct store *s, const char *repo, const char *tag) {
    if (!guard_keeps_tag(s, repo, tag) && tags_forget(s->tags, repo, tag)) submit(s, repo, tag);
}

size_t store_tags(const struct store *s, const char *repo, const char *last, size_t max, char ***out) {
    return tags_list(s->tags, repo, last, max, out);
}
