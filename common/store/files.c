/* The descriptor cache: 16 shards of a small chained table with a clock hand that passes over files in use. Thread:
 * any. */
#include "common/store/files.h"

#include "common/core/alloc.h"

#include <pthread.h>
#include <string.h>

#define SHARDS 16u
#define NIL UINT16_MAX

struct slot {
    struct digest digest;
    struct open_file *file; /* NULL: free */
    uint16_t next;
    bool used; /* since the hand passed */
};

struct shard {
    pthread_mutex_t lock;
    unsigned hand;
    uint16_t *heads;
    struct slot *slots;
};

struct files {
    unsigned per_shard, mask; /* heads - 1 */
    struct shard shards[SHARDS];
};

struct files *files_new(unsigned max) {
    struct files *f = xcalloc(1, sizeof(*f));
    f->per_shard = max / SHARDS ? max / SHARDS : 1;
    unsigned heads = 1;
    while (heads < f->per_shard)
        heads *= 2;
    f->mask = heads - 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &f->shards[i];
        pthread_mutex_init(&sh->lock, NULL);
        sh->slots = xcalloc(f->per_shard, sizeof(*sh->slots));
        sh->heads = xmalloc(heads * sizeof(*sh->heads));
        memset(sh->heads, 0xff, heads * sizeof(*sh->heads));
    }
    return f;
}

void files_free(struct files *f) {
    if (!f) return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &f->shards[i];
        for (unsigned k = 0; k < f->per_shard; k++)
            open_file_unref(sh->slots[k].file);
        free(sh->slots);
        free(sh->heads);
        pthread_mutex_destroy(&sh->lock);
    }
    free(f);
}

/* Digests are uniform. A publisher who makes them collide here only slows down the opening of those blobs. */
static struct shard *shard_of(struct files *f, const struct digest *d, uint16_t **head) {
    uint32_t h;
    memcpy(&h, d->bytes + 4, sizeof(h));
    struct shard *sh = &f->shards[h % SHARDS];
    *head = &sh->heads[(h / SHARDS) & f->mask];
    return sh;
}

static uint16_t *find(struct shard *sh, uint16_t *link, const struct digest *d) {
    while (*link != NIL && !digest_eq(&sh->slots[*link].digest, d))
        link = &sh->slots[*link].next;
    return link;
}

struct open_file *files_get(struct files *f, const struct digest *d) {
    uint16_t *head;
    struct shard *sh = shard_of(f, d, &head);
    struct open_file *file = NULL;
    pthread_mutex_lock(&sh->lock);
    uint16_t at = *find(sh, head, d);
    if (at != NIL) {
        file = open_file_ref(sh->slots[at].file);
        sh->slots[at].used = true;
    }
    pthread_mutex_unlock(&sh->lock);
    return file;
}

/* Under the lock: unlinks what *link points to and returns its file, to be let go outside the lock. */
static struct open_file *take(struct shard *sh, uint16_t *link) {
    struct slot *s = &sh->slots[*link];
    struct open_file *file = s->file;
    *link = s->next;
    s->file = NULL;
    return file;
}

/* Under the lock: a free slot. Files in use are passed over for two rounds; if all are, one is forgotten, not closed.
 */
static uint16_t make_room(struct files *f, struct shard *sh, struct open_file **out) {
    for (unsigned step = 0;; step++) {
        uint16_t at = (uint16_t)(sh->hand++ % f->per_shard);
        struct slot *s = &sh->slots[at];
        if (!s->file) return at;
        bool keep = s->used || open_file_refs(s->file) > 1;
        s->used = false;
        if (keep && step < 2 * f->per_shard) continue;
        uint16_t *head;
        shard_of(f, &s->digest, &head);
        *out = take(sh, find(sh, head, &s->digest));
        return at;
    }
}

void files_put(struct files *f, const struct digest *d, struct open_file *file) {
    uint16_t *head;
    struct shard *sh = shard_of(f, d, &head);
    struct open_file *out = NULL;
    pthread_mutex_lock(&sh->lock);
    if (*find(sh, head, d) == NIL) {
        uint16_t at = make_room(f, sh, &out);
        sh->slots[at] = (struct slot){.digest = *d, .file = open_file_ref(file), .next = *head, .used = true};
        *head = at;
    }
    pthread_mutex_unlock(&sh->lock);
    open_file_unref(out);
}

void files_drop(struct files *f, const struct digest *d) {
    uint16_t *head;
    struct shard *sh = shard_of(f, d, &head);
    pthread_mutex_lock(&sh->lock);
    uint16_t *link = find(sh, head, d);
    struct open_file *out = *link == NIL ? NULL : take(sh, link);
    pthread_mutex_unlock(&sh->lock);
    open_file_unref(out);
}

bool files_in_use(struct files *f, const struct digest *d) {
    uint16_t *head;
    struct shard *sh = shard_of(f, d, &head);
    pthread_mutex_lock(&sh->lock);
    uint16_t at = *find(sh, head, d);
    bool used = at != NIL && open_file_refs(sh->slots[at].file) > 1;
    pthread_mutex_unlock(&sh->lock);
    return used;
}
