/* A map under a lock, held for a few instructions. Thread: any. */
#include "common/serve/moves.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/map.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MOVES_MAX 1000

struct moves {
    pthread_mutex_t lock;
    struct map *by_tag;
    uint64_t noted; /* how many were noted so far: the order of each */
};

#define KEY_MAX (REPO_STR_MAX + TAG_MAX + 2)

/* No repository has a colon after its last slash. */
static const char *key_of(const struct repo_name *repo, const char *tag, char out[KEY_MAX]) {
    char name[REPO_STR_MAX];
    snprintf(out, KEY_MAX, "%s:%s", repo_name_str(repo, name), tag);
    return out;
}

struct moves *moves_new(void) {
    struct moves *t = xcalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    t->by_tag = map_new(free);
    return t;
}

void moves_free(struct moves *t) {
    if (!t) return;
    map_free(t->by_tag);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct oldest {
    const struct move *move;
};

static bool see_age(const void *key, size_t len, void *value, void *arg) {
    (void)key;
    (void)len;
    const struct move *m = value;
    struct oldest *o = arg;
    if (!o->move || m->order < o->move->order) o->move = m;
    return true;
}

/* A walk over a thousand entries takes some 10 us, and is rare. */
static void drop_oldest(struct moves *t) {
    char key[KEY_MAX];
    struct oldest o = {0};
    map_each(t->by_tag, see_age, &o);
    if (o.move) map_del_s(t->by_tag, key_of(&o.move->repo, o.move->tag, key));
}

void moves_note(struct moves *t, const struct repo_name *repo, const char *tag, const struct tag_facts *said) {
    char key[KEY_MAX];
    struct move *m = xcalloc(1, sizeof(*m));
    m->repo = *repo;
    m->said = *said;
    m->said.stale = false; /* of that answer alone */
    m->said.warning[0] = '\0';
    snprintf(m->tag, sizeof(m->tag), "%s", tag);
    key_of(repo, tag, key);
    pthread_mutex_lock(&t->lock);
    const struct move *before = map_get_s(t->by_tag, key);
    if (before && digest_eq(&before->said.digest, &said->digest)) {
        m->failed_ms = before->failed_ms;
        memcpy(m->why, before->why, sizeof(m->why));
    } else if (!before && map_len(t->by_tag) >= MOVES_MAX) {
        drop_oldest(t);
    }
    m->order = t->noted++;
    map_set_s(t->by_tag, key, m);
    pthread_mutex_unlock(&t->lock);
}

bool moves_get(struct moves *t, const struct repo_name *repo, const char *tag, struct move *out) {
    char key[KEY_MAX];
    key_of(repo, tag, key);
    pthread_mutex_lock(&t->lock);
    const struct move *m = map_get_s(t->by_tag, key);
    if (m) *out = *m;
    pthread_mutex_unlock(&t->lock);
    return m != NULL;
}

void moves_forget(struct moves *t, const struct repo_name *repo, const char *tag) {
    char key[KEY_MAX];
    key_of(repo, tag, key);
    pthread_mutex_lock(&t->lock);
    map_del_s(t->by_tag, key);
    pthread_mutex_unlock(&t->lock);
}

/* --- by manifest --- */

struct failure {
    const struct digest *manifest;
    const char *why;
};

static bool fail_one(const void *key, size_t len, void *value, void *arg) {
    (void)key;
    (void)len;
    struct move *m = value;
    const struct failure *f = arg;
    if (!digest_eq(&m->said.digest, f->manifest)) return true;
    m->failed_ms = clock_mono_ms();
    snprintf(m->why, sizeof(m->why), "%s", f->why);
    return true;
}

void moves_failed(struct moves *t, const struct digest *manifest, const char *why) {
    struct failure f = {manifest, why};
    pthread_mutex_lock(&t->lock);
    map_each(t->by_tag, fail_one, &f);
    pthread_mutex_unlock(&t->lock);
}

struct wanted {
    const struct digest *manifest;
    const struct move *found;
};

static bool find_one(const void *key, size_t len, void *value, void *arg) {
    (void)key;
    (void)len;
    const struct move *m = value;
    struct wanted *w = arg;
    if (digest_eq(&m->said.digest, w->manifest)) w->found = m;
    return w->found == NULL;
}

bool moves_take(struct moves *t, const struct digest *manifest, struct move *out) {
    char key[KEY_MAX];
    struct wanted w = {.manifest = manifest};
    pthread_mutex_lock(&t->lock);
    map_each(t->by_tag, find_one, &w);
    if (w.found) {
        *out = *w.found;
        map_del_s(t->by_tag, key_of(&out->repo, out->tag, key));
    }
    pthread_mutex_unlock(&t->lock);
    return w.found != NULL;
}
