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

void store_tag_set(struct store *s, const char *repo, const char *tag, const struct tag_facts *rec) {
    tags_set(s->tags, repo, tag, rec);
    submit(s, repo, tag);
}

void store_tag_forget(struct store *s, const char *repo, const char *tag) {
    if (!guard_keeps_tag(s, repo, tag) && tags_forget(s->tags, repo, tag)) submit(s, repo, tag);
}

size_t store_tags(const struct store *s, const char *repo, const char *last, size_t max, char ***out) {
    return tags_list(s->tags, repo, last, max, out);
}
