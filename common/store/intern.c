/* A bounded set of numbered strings: a map for name to number under a lock, chunks of atomic pointers for the way back.
 * Thread: any. */
#include "common/store/intern.h"

#include "common/core/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/core/map.h"

#define CHUNK 1024u
#define MEDIA_MAX 1000u

/* Media types that always find room, even if strangers have filled the set. */
static const char *const usual[] = {"application/vnd.oci.image.manifest.v1+json",
                                    "application/vnd.oci.image.index.v1+json",
                                    "application/vnd.docker.distribution.manifest.v2+json",
                                    "application/vnd.docker.distribution.manifest.list.v2+json", INTERN_MEDIA_ANY};

struct intern {
    pthread_mutex_t lock; /* guards ids and next; held for a look-up */
    struct map *ids;
    uint32_t limit, next;
    uint32_t kept; /* the last numbers, for usual media types */
    _Atomic(_Atomic(char *) *) chunks[];
};

static struct intern *intern_new(uint32_t limit) {
    struct intern *in = xcalloc(1, sizeof(*in) + (limit / CHUNK + 1) * sizeof(in->chunks[0]));
    pthread_mutex_init(&in->lock, NULL);
    in->ids = map_new(NULL);
    in->limit = limit;
    in->next = 1;
    return in;
}

struct intern *intern_new_media(void) {
    struct intern *in = intern_new(MEDIA_MAX + ARRAY_LEN(usual));
    in->kept = ARRAY_LEN(usual);
    return in;
}

void intern_free(struct intern *in) {
    if (!in) return;
    for (uint32_t c = 0; c <= in->limit / CHUNK; c++) {
        _Atomic(char *) *chunk = in->chunks[c];
        for (uint32_t i = 0; chunk && i < CHUNK; i++)
            free(chunk[i]);
        free((void *)chunk);
    }
    map_free(in->ids);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

/* Under the lock. */
static void set(struct intern *in, uint32_t id, const char *s) {
    _Atomic(char *) *chunk = in->chunks[id / CHUNK];
    if (!chunk) {
        chunk = xcalloc(CHUNK, sizeof(*chunk));
        atomic_store_explicit(&in->chunks[id / CHUNK], chunk, memory_order_release);
    }
    char *copy = xstrdup(s);
    atomic_store_explicit(&chunk[id % CHUNK], copy, memory_order_release);
    map_set_s(in->ids, s, (void *)(uintptr_t)id);
    if (id >= in->next) in->next = id + 1;
}

static bool is_usual(const char *s) {
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (strcmp(s, usual[i]) == 0) return true;
    }
    return false;
}

uint32_t intern_get(struct intern *in, const char *s, bool *is_new) {
    pthread_mutex_lock(&in->lock);
    uint32_t id = (uint32_t)(uintptr_t)map_get_s(in->ids, s);
    bool make = id == 0 && in->next <= in->limit - (in->kept && is_usual(s) ? 0 : in->kept);
    if (make) {
        id = in->next;
        set(in, id, s);
    }
    pthread_mutex_unlock(&in->lock);
    if (is_new) *is_new = make;
    return id;
}

int intern_put(struct intern *in, uint32_t id, const char *s) {
    if (id == 0 || id > in->limit) return ERR_INVALID;
    pthread_mutex_lock(&in->lock);
    bool ok = !intern_name(in, id) && !map_get_s(in->ids, s);
    if (ok) set(in, id, s);
    pthread_mutex_unlock(&in->lock);
    return ok ? 0 : ERR_INVALID;
}

void intern_reserve(struct intern *in, uint32_t id) {
    pthread_mutex_lock(&in->lock);
    if (id >= in->next) in->next = id < in->limit ? id + 1 : in->limit + 1;
    pthread_mutex_unlock(&in->lock);
}

const char *intern_name(const struct intern *in, uint32_t id) {
    if (id == 0 || id > in->limit) return NULL;
    _Atomic(char *) *chunk = atomic_load_explicit(&in->chunks[id / CHUNK], memory_order_acquire);
    return chunk ? atomic_load_explicit(&chunk[id % CHUNK], memory_order_acquire) : NULL;
}
