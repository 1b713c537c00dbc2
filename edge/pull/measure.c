/* Small requests first, then large ones, then, if something hung, the same by size. Thread: work pool. */
#include "edge/pull/measure.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/error.h"
#include "common/wire/wire.h"

#define SMALL_MS 5000
#define LARGE_MS 10000
#define SIZES_MS 6000
#define SMALL_TIMES 3
#define LONG_US 20000
/* More than any segment. */
#define TRY_BYTES 4096
#define STATUS_NO_CALL 404
#define STATUS_BODY_LATE 408
/* Headers of IP and TCP, without options. */
#define HEADERS4 40u
#define HEADERS6 60u

/* By steps of 20 bytes where the MTUs of tunnels and DSL are. The first is that of an MTU of 1,500. */
static const unsigned segments[] = {1460, 1440, 1420, 1400, 1380, 1360, 1340, 1320,
                                    1300, 1280, 1240, 1200, 1100, 960,  536};
static const char filler[WIRE_MAX_ROAD_REQUEST];

struct road {
    struct probes *probes;
    const struct probe *how;
    int64_t allowance_ms;
};

static bool is_answer(const struct probe *p) {
    return p->code == 0 && p->status == 200;
}

/* Its connection was there, and then nothing came, or no more than a packet or two; or central says so of what was posted.
 */
static bool hung(const struct road *r, const struct probe *p, int64_t limit_ms) {
    if (p->status == STATUS_BODY_LATE) return true;
    bool late = (p->done_us - p->began_us) / 1000 >= (limit_ms + r->allowance_ms) * 9 / 10;
    return p->code != 0 && (p->connected || !p->alone) && (p->code == ERR_TIMEOUT || late) && p->body_bytes < TRY_BYTES;
}

static void ask(const struct road *r, struct probe *p, const char *path, size_t post, bool alone, int64_t limit_ms) {
    *p = *r->how;
    p->path = path;
    p->body = NULL;
    p->post = post ? filler : NULL;
    p->post_len = post;
    p->alone = alone;
    probes_ask(r->probes, p, 1, limit_ms + r->allowance_ms);
}

/* False: not even small ones arrive. */
static bool measure_small(const struct road *r, struct road_facts *f) {
    static const char path[] = WIRE_ROAD_PATH "?bytes=0";
    struct probe p;
    ask(r, &p, path, 0, true, SMALL_MS);
    f->is_older = p.status == STATUS_NO_CALL;
    f->answers = is_answer(&p);
    if (hung(r, &p, SMALL_MS)) { /* its certificates, or ours, are large */
        f->large_answers_stall = !p.secured;
        f->large_requests_stall = p.secured;
    }
    if (!f->answers) return false;
    f->seen = p.seen;
    memcpy(f->local, p.local, sizeof(f->local));
    for (int i = 0; i < SMALL_TIMES; i++) {
        ask(r, &p, path, 0, false, SMALL_MS);
        int64_t us = p.head_us - p.began_us;
        if (is_answer(&p) && (f->round_trip_us == 0 || us < f->round_trip_us)) f->round_trip_us = us;
    }
    return true;
}

/* What `bytes` take beyond a round trip; 0: not known. A slow line may not be done within the limit. */
static int64_t time_of(const struct probe *p, size_t bytes, int64_t round_trip_us) {
    int64_t us = p->done_us - p->began_us - round_trip_us;
    if (us < 1) us = 1;
    if (is_answer(p)) return us;
    return p->status == 200 && p->body_bytes > 0 ? (int64_t)((double)us * (double)bytes / (double)p->body_bytes) : 0;
}

static int64_t measure_large(const struct road *r, const char *path, size_t post, int64_t round_trip_us, bool *stalls) {
    int64_t best = 0;
    /* A new connection's window is small. Where that matters, the second finds it grown. */
    for (int i = 0; i < (round_trip_us < LONG_US ? 1 : 2) && !*stalls; i++) {
        struct probe p;
        ask(r, &p, path, post, false, LARGE_MS);
        *stalls = hung(r, &p, LARGE_MS);
        int64_t us = time_of(&p, post ? post : WIRE_MAX_ROAD_ANSWER, round_trip_us);
        if (us > 0 && (best == 0 || us < best)) best = us;
    }
    return best;
}

/* --- by size --- */

bool road_size_decides(const bool *passed, size_t n, size_t *at) {
    size_t first = 0;
    while (first < n && !passed[first])
        first++;
    *at = first;
    for (size_t i = first; i < n; i++)
        if (!passed[i]) return false;
    return first > 0 && first < n;
}

/* Requests and answers larger than any segment, for each size at once. */
static void try_sizes(const struct road *r, const unsigned *sizes, size_t n, bool *passed, bool *v6) {
    char path[64];
    struct probe *list = xcalloc(n, sizeof(*list));
    snprintf(path, sizeof(path), WIRE_ROAD_PATH "?bytes=%d", TRY_BYTES);
    for (size_t i = 0; i < n; i++) {
        list[i] = *r->how;
        list[i].path = path;
        list[i].body = NULL;
        list[i].post = filler;
        list[i].post_len = TRY_BYTES;
        list[i].alone = true;
        list[i].segment = sizes[i];
    }
    probes_ask(r->probes, list, n, SIZES_MS + r->allowance_ms);
    for (size_t i = 0; i < n; i++) {
        passed[i] = is_answer(&list[i]);
        *v6 = *v6 || list[i].v6;
    }
    free(list);
}

/* A link that is full loses packets of any size; so what was found is tried once more. */
static void find_size(const struct road *r, struct road_facts *f) {
    bool passed[ARRAY_LEN(segments)], again[2], v6 = false;
    size_t at;
    try_sizes(r, segments, ARRAY_LEN(segments), passed, &v6);
    if (!road_size_decides(passed, ARRAY_LEN(segments), &at)) return;
    try_sizes(r, segments + at - 1, ARRAY_LEN(again), again, &v6);
    if (again[0] || !again[1]) return;
    f->passes = segments[at] + (v6 ? HEADERS6 : HEADERS4);
    f->vanishes = segments[at - 1] + (v6 ? HEADERS6 : HEADERS4);
}

/* --- all of it --- */

void road_measure(struct probes *probes, const struct probe *how, int64_t allowance_ms, struct road_facts *out) {
    const struct road r = {probes, how, allowance_ms};
    char path[64];
    *out = (struct road_facts){0};
    if (measure_small(&r, out)) {
        snprintf(path, sizeof(path), WIRE_ROAD_PATH "?bytes=%zu", WIRE_MAX_ROAD_ANSWER);
        out->down_us = measure_large(&r, path, 0, out->round_trip_us, &out->large_answers_stall);
        out->up_us = measure_large(&r, WIRE_ROAD_PATH "?bytes=0", sizeof(filler), out->round_trip_us,
                                   &out->large_requests_stall);
    }
    if (out->large_answers_stall || out->large_requests_stall) find_size(&r, out);
}

json_t *road_facts_json(const struct road_facts *f) {
    static const struct ip nowhere;
    char seen[IP_TEXT_MAX] = "";
    if (memcmp(&f->seen, &nowhere, sizeof(nowhere)) != 0) ip_text(&f->seen, seen);
    json_t *j = json_pack("{s:b, s:b, s:I, s:b, s:b}", "answers", f->answers, "older", f->is_older, "round_trip_us",
                          (json_int_t)f->round_trip_us, "large_answers_stall", f->large_answers_stall,
                          "large_requests_stall", f->large_requests_stall);
    if (f->down_us)
        json_object_set_new(
            j, "down",
            json_pack("{s:I, s:I}", "bytes", (json_int_t)WIRE_MAX_ROAD_ANSWER, "us", (json_int_t)f->down_us));
    if (f->up_us)
        json_object_set_new(
            j, "up", json_pack("{s:I, s:I}", "bytes", (json_int_t)WIRE_MAX_ROAD_REQUEST, "us", (json_int_t)f->up_us));
    if (f->passes)
        json_object_set_new(j, "packets", json_pack("{s:i, s:i}", "pass", (int)f->passes, "vanish", (int)f->vanishes));
    json_object_set_new(j, "seen_as", json_string(seen));
    json_object_set_new(j, "own", json_string(f->local));
    return j;
}
