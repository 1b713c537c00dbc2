/* The tag map: shards of repositories, each with its tags in an array sorted by name. Thread: any. */
#include "common/store/tags.h"

#include "common/core/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/core/map.h"
#include "common/store/intern.h"

#define SHARDS 16u

struct tag {
    struct digest digest;
    bool deleted;
    uint16_t media;
    int64_t checked_at, size;
    char name[];
};

struct repo {
    size_t n, cap;
    struct tag **sorted; /* by strcmp: ASCII order */
};

struct shard {
    pthread_rwlock_t lock;
    struct map *repos; /* name to struct repo */
};

struct tags {
    struct intern *media; /* of its own: the index has tags' media types as text */
    _Atomic int64_t count;
    struct shard shards[SHARDS];
};

static void repo_free(void *arg) {
    struct repo *r = arg;
    for (size_t i = 0; i < r->n; i++)
        free(r->sorted[i]);
    free(r->sorted);
    free(r);
}

struct tags *tags_new(void) {
    struct tags *t = xcalloc(1, sizeof(*t));
    t->media = intern_new_media();
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_rwlock_init(&t->shards[i].lock, NULL);
        t->shards[i].repos = map_new(repo_free);
    }
    return t;
}

void tags_free(struct tags *t) {
    if (!t) return;
    for (unsigned i = 0; i < SHARDS; i++) {
        map_free(t->shards[i].repos);
        pthread_rwlock_destroy(&t->shards[i].lock);
    }
    intern_free(t->media);
    free(t);
}

static struct shard *shard_of(struct tags *t, const char *repo) {
    return &t->shards[map_hash(repo, strlen(repo)) % SHARDS];
}

/* Where name is, or would be. */
static size_t place_of(const struct repo *r, const char *name, bool *found) {
    size_t lo = 0, hi = r->n;
    *found = false;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(r->sorted[mid]->name, name);
        if (c == 0) *found = true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool tags_get(struct tags *t, const char *repo, const char *tag, struct tag_facts *out) {
    struct shard *sh = shard_of(t, repo);
    bool found = false;
    pthread_rwlock_rdlock(&sh->lock);
    const struct repo *r = map_get_s(sh->repos, repo);
    size_t at = r ? place_of(r, tag, &found) : 0;
    if (found) {
        const struct tag *g = r->sorted[at];
        const char *media = intern_name(t->media, g->media);
        out->digest = g->digest;
        out->checked_at = g->checked_at;
        out->size = g->size;
        out->deleted = g->deleted;
        out->stale = false;
        out->warning[0] = '\0';
        size_t len = media ? strnlen(media, sizeof(out->media_type) - 1) : 0;
        memcpy(out->media_type, media ? media : "", len);
        out->media_type[len] = '\0';
    }
    pthread_rwlock_unlock(&sh->lock);
    return found;
}

static struct tag *tag_new(struct tags *t, const char *name, const struct tag_facts *rec) {
    struct tag *g = xcalloc(1, sizeof(*g) + strlen(name) + 1);
    memcpy(g->name, name, strlen(name) + 1);
    g->digest = rec->digest;
    g->checked_at = rec->checked_at;
    g->size = rec->size;
    g->deleted = rec->deleted;
    /* When there are more media types than numbers the tag's stays unknown; the manifest itself still tells it. */
    g->media = rec->media_type[0] ? (uint16_t)intern_get(t->media, rec->media_type, NULL) : 0;
    return g;
}

static void insert(struct repo *r, size_t at, struct tag *g) {
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 4;
        r->sorted = xrealloc(r->sorted, r->cap, sizeof(struct tag *));
    }
    memmove(r->sorted + at + 1, r->sorted + at, (r->n - at) * sizeof(struct tag *));
    r->sorted[at] = g;
    r->n++;
}

void tags_set(struct tags *t, const char *repo, const char *tag, const struct tag_facts *rec) {
    struct tag *g = tag_new(t, tag, rec), *old = NULL;
    struct shard *sh = shard_of(t, repo);
    bool found = false;
    pthread_rwlock_wrlock(&sh->lock);
    struct repo *r = map_get_s(sh->repos, repo);
    if (!r) {
        r = xcalloc(1, sizeof(*r));
        map_set_s(sh->repos, repo, r);
    }
    size_t at = place_of(r, tag, &found);
    if (found) {
        old = r->sorted[at];
        r->sorted[at] = g;
    } else {
        insert(r, at, g);
        t->count++;
    }
    pthread_rwlock_unlock(&sh->lock);
    free(old);
}

bool tags_forget(struct tags *t, const char *repo, const char *tag) {
    struct shard *sh = shard_of(t, repo);
    bool found = false;
    pthread_rwlock_wrlock(&sh->lock);
    struct repo *r = map_get_s(sh->repos, repo);
    size_t at = r ? place_of(r, tag, &found) : 0;
    if (found) {
        free(r->sorted[at]);
        r->n--;
        memmove(r->sorted + at, r->sorted + at + 1, (r->n - at) * sizeof(struct tag *));
        t->count--;
        if (r->n == 0) map_del_s(sh->repos, repo);
    }
    pthread_rwlock_unlock(&sh->lock);
    return found;
}

size_t tags_list(struct tags *t, const char *repo, const char *last, size_t max, char ***out) {
    struct shard *sh = shard_of(t, repo);
    size_t n = 0;
    bool found = false;
    *out = NULL;
    pthread_rwlock_rdlock(&sh->lock);
    const struct repo *r = map_get_s(sh->repos, repo);
    if (r) {
        size_t at = place_of(r, last, &found) + (found ? 1 : 0);
        n = r->n - at < max ? r->n - at : max;
        *out = xcalloc(n + 1, sizeof(char *));
        for (size_t i = 0; i < n; i++) {
            (*out)[i] = xstrdup(r->sorted[at + i]->name);
        }
    }
    pthread_rwlock_unlock(&sh->lock);
    return n;
}

int64_t tags_count(const struct tags *t) {
    return t->count;
}

/* --- those unused for longest --- */

struct search {
    bool (*may_go)(const struct digest *d, void *arg);
    void *arg;
    int64_t *times; /* of all that may go; n of at most cap */
    size_t n, cap;
    struct tag_name *names; /* NULL: times are gathered */
    int64_t newest;         /* of those that are named */
};

static void look_at(struct search *s, const char *repo, size_t repo_len, const struct tag *g) {
    if (s->n == s->cap || !s->may_go(&g->digest, s->arg)) return;
    if (!s->names) {
        s->times[s->n++] = g->checked_at;
    } else if (g->checked_at <= s->newest) {
        struct tag_name *name = &s->names[s->n++];
        name->repo = xcalloc(repo_len + 1, 1);
        memcpy(name->repo, repo, repo_len);
        name->tag = xstrdup(g->name);
        name->checked_at = g->checked_at;
    }
}

static bool look_at_repo(const void *key, size_t len, void *value, void *arg) {
    const struct repo *r = value;
    for (size_t i = 0; i < r->n; i++)
        look_at(arg, key, len, r->sorted[i]);
    return true;
}

static void look_at_all(struct tags *t, struct search *s) {
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_rwlock_rdlock(&t->shards[i].lock);
        map_each(t->shards[i].repos, look_at_repo, s);
        pthread_rwlock_unlock(&t->shards[i].lock);
    }
}

static int by_time(const void *a, const void *b) {
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

size_t tags_oldest(struct tags *t, size_t n, bool (*may_go)(const struct digest *d, void *arg), void *arg,
                   struct tag_name **out) {
    struct search s = {.may_go = may_go, .arg = arg, .cap = (size_t)tags_count(t)};
    *out = NULL;
    if (s.cap == 0 || n == 0) return 0;
    s.times = xcalloc(s.cap, sizeof(*s.times));
    look_at_all(t, &s);
    if (s.n < n) n = s.n;
    if (n > 0) {
        qsort(s.times, s.n, sizeof(*s.times), by_time);
        s.newest = s.times[n - 1];
        s.names = *out = xcalloc(n, sizeof(*s.names));
        s.cap = n;
        s.n = 0;
        look_at_all(t, &s);
        n = s.n;
    }
    free(s.times);
    return n;
}
