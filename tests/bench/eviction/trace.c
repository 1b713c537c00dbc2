/* Traces in memory and in files. Thread: one. */
#include "tests/bench/eviction/trace.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "# entrepot trace 1: second object bytes kind manifest"
#define SIZE_MAX_ALLOWED (1LL << 48)

struct trace *trace_new(void) {
    struct trace *t = calloc(1, sizeof(*t));
    if (!t) abort();
    return t;
}

void trace_free(struct trace *t) {
    if (!t) return;
    free(t->objects);
    free(t->requests);
    free(t);
}

uint32_t trace_add_object(struct trace *t, char kind, int64_t size) {
    if (t->n_objects + 1 >= t->objects_cap) {
        t->objects_cap = t->objects_cap ? t->objects_cap * 2 : 1024;
        t->objects = reallocarray(t->objects, t->objects_cap, sizeof(*t->objects));
        if (!t->objects) abort();
    }
    t->objects[++t->n_objects] = (struct trace_object){size, kind};
    return t->n_objects;
}

void trace_ask(struct trace *t, uint32_t at, uint32_t object, uint32_t of) {
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4096;
        t->requests = reallocarray(t->requests, t->cap, sizeof(*t->requests));
        if (!t->requests) abort();
    }
    t->requests[t->n++] = (struct trace_request){at, object, of};
}

int64_t trace_bytes(const struct trace *t) {
    int64_t sum = 0;
    for (size_t i = 0; i < t->n; i++)
        sum += t->objects[t->requests[i].object].size;
    return sum;
}

int64_t trace_footprint(const struct trace *t) {
    bool *seen = calloc(t->n_objects + 1, sizeof(*seen));
    if (!seen) abort();
    int64_t sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        uint32_t object = t->requests[i].object;
        if (!seen[object]) sum += t->objects[object].size;
        seen[object] = true;
    }
    free(seen);
    return sum;
}

/* --- files --- */

void trace_write(const struct trace *t, FILE *out) {
    fputs(FIRST_LINE "\n", out);
    for (size_t i = 0; i < t->n; i++) {
        const struct trace_request *r = &t->requests[i];
        const struct trace_object *o = &t->objects[r->object];
        fprintf(out, "%u %u %lld %c %u\n", r->at, r->object, (long long)o->size, o->kind, r->of);
    }
}

/* Numbers of the file to numbers of ours. */
struct names {
    uint64_t *theirs;
    uint32_t *ours;
    size_t mask, n;
};

static size_t name_slot(const struct names *m, uint64_t theirs) {
    size_t i = (theirs * 0x9E3779B97F4A7C15ULL >> 20) & m->mask;
    while (m->ours[i] && m->theirs[i] != theirs)
        i = (i + 1) & m->mask;
    return i;
}

static void names_grow(struct names *m) {
    struct names old = *m;
    m->mask = old.ours ? old.mask * 2 + 1 : 4095;
    m->theirs = calloc(m->mask + 1, sizeof(*m->theirs));
    m->ours = calloc(m->mask + 1, sizeof(*m->ours));
    if (!m->theirs || !m->ours) abort();
    for (size_t i = 0; old.ours && i <= old.mask; i++) {
        if (!old.ours[i]) continue;
        size_t to = name_slot(m, old.theirs[i]);
        m->theirs[to] = old.theirs[i];
        m->ours[to] = old.ours[i];
    }
    free(old.theirs);
    free(old.ours);
}

static uint32_t *name_find(struct names *m, uint64_t theirs) {
    if (!m->ours || m->n * 2 > m->mask) names_grow(m);
    size_t i = name_slot(m, theirs);
    m->theirs[i] = theirs;
    return &m->ours[i];
}

static bool read_request(struct trace *t, struct names *names, const char *line) {
    unsigned at;
    unsigned long long object, of = 0;
    long long size;
    char kind;
    int got = sscanf(line, "%u %llu %lld %c %llu", &at, &object, &size, &kind, &of);
    if (got < 4 || size < 0 || size > SIZE_MAX_ALLOWED || !strchr("mcl", kind)) return false;
    uint32_t *ours = name_find(names, object);
    if (!*ours) {
        *ours = trace_add_object(t, kind, size);
        names->n++;
    }
    uint32_t id = *ours;
    trace_ask(t, at, id, of ? *name_find(names, of) : 0);
    return t->objects[id].size == size && t->objects[id].kind == kind;
}

struct trace *trace_read(FILE *in, unsigned long *line) {
    struct trace *t = trace_new();
    struct names names = {0};
    char buf[256];
    bool ok = true;
    for (*line = 1; ok && fgets(buf, sizeof(buf), in); ++*line)
        ok = buf[0] == '#' || buf[0] == '\n' || read_request(t, &names, buf);
    free(names.theirs);
    free(names.ours);
    if (ok && t->n) return t;
    --*line;
    trace_free(t);
    return NULL;
}
