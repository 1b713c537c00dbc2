/* Remembers what recent request targets meant. A busy node gets the same few requests over and over, and for a small
 * answer, parsing the target, resolving the repository and finding its scope take longer than all the rest. Thread:
 * each serving loop has a memo of its own, which ends with the thread. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/map.h"

#include <pthread.h>
#include <string.h>

#define PLACES 64u /* a power of two; 3 KiB each */
#define TARGET_MAX 256

struct memo {
    uint64_t registry;              /* its serial: an address may be another's by now. 0: nothing kept */
    const struct name_rules *rules; /* what it meant under these: a pointer names a version for the process's life */
    size_t len;
    char target[TARGET_MAX];
    struct oci_request asked;
    struct repo_name repo;
    char repo_str[REPO_STR_MAX];
    uint32_t scope;
    uint64_t scope_epoch;
    bool uses_ns;
};

static _Thread_local struct memo *memos;
static pthread_key_t memos_key;

static void make_key(void) {
    if (pthread_key_create(&memos_key, free) != 0) abort();
}

static struct memo *place_of(const char *target, size_t len) {
    if (!memos) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, make_key);
        memos = xcalloc(PLACES, sizeof(*memos));
        pthread_setspecific(memos_key, memos);
    }
    return &memos[map_hash(target, len) & (PLACES - 1)];
}

bool memo_find(struct exchange *x, const struct name_rules *rules, const char *target) {
    size_t len = strlen(target);
    if (len >= TARGET_MAX) return false;
    const struct memo *m = place_of(target, len);
    if (m->registry != x->registry->serial || m->rules != rules || m->len != len || memcmp(m->target, target, len) != 0)
        return false;
    if (m->scope_epoch != store_scope_epoch(x->registry->cfg.store)) return false;
    x->asked = m->asked;
    x->repo = m->repo;
    memcpy(x->repo_str, m->repo_str, sizeof(x->repo_str));
    x->scope = m->scope;
    x->uses_ns = m->uses_ns;
    return true;
}

void memo_keep(const struct exchange *x, const struct name_rules *rules, const char *target) {
    size_t len = strlen(target);
    if (len >= TARGET_MAX || x->scope == 0) return;
    struct memo *m = place_of(target, len);
    m->registry = x->registry->serial;
    m->rules = rules;
    m->len = len;
    memcpy(m->target, target, len);
    m->asked = x->asked;
    m->repo = x->repo;
    memcpy(m->repo_str, x->repo_str, sizeof(m->repo_str));
    m->scope = x->scope;
    m->scope_epoch = x->scope_epoch;
    m->uses_ns = x->uses_ns;
}
