/* What was asked of a cache, in order: generated from a seed, or read from a file. A file can be replayed anywhere and
 * made from a real access log (README.md describes the format). Thread: one. */
#ifndef ENTREPOT_BENCH_EVICTION_TRACE_H
#define ENTREPOT_BENCH_EVICTION_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum trace_kind { TRACE_MANIFEST = 'm', TRACE_CONFIG = 'c', TRACE_LAYER = 'l' };

struct trace_object {
    int64_t size;
    char kind;
};

struct trace_request {
    uint32_t at;     /* seconds since the beginning */
    uint32_t object; /* from 1 */
    uint32_t of;     /* the manifest it was asked for with; 0: none, or not known */
};

struct trace {
    struct trace_object *objects;
    uint32_t n_objects, objects_cap; /* objects[n_objects] is the last one */
    struct trace_request *requests;
    size_t n, cap;
};

struct trace_model {
    uint64_t seed;
    unsigned days;
    unsigned repos; /* each has one to three tags */
    double alpha;   /* Zipf's exponent of their popularity */
    unsigned nodes; /* clients that keep what they have pulled for some days */
    unsigned pulls; /* a day, by nodes */
    unsigned ci;    /* one-off images a day */
    unsigned scan;  /* images a night */
};

struct trace_model trace_model_default(uint64_t seed);
struct trace *trace_generate(const struct trace_model *m);

struct trace *trace_new(void);
void trace_free(struct trace *t);
uint32_t trace_add_object(struct trace *t, char kind, int64_t size);
void trace_ask(struct trace *t, uint32_t at, uint32_t object, uint32_t of);

int64_t trace_footprint(const struct trace *t); /* bytes of all that is asked for, each once */
int64_t trace_bytes(const struct trace *t);     /* bytes of all requests */

void trace_write(const struct trace *t, FILE *out);
/* NULL: not a trace; *line says where. Objects are numbered anew in the order in which they come. */
struct trace *trace_read(FILE *in, unsigned long *line);

#endif
