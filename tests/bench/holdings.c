/* What it costs central to know what each edge holds: `holdings FOLDER EDGES HELD BLOBS` has each edge report HELD random
 * ones of BLOBS blobs as an edge does, in reports.db, asks who of 50 edges holds one, and reads all back as after a
 * restart. Prints one line of JSON. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "central/reports/book.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "tests/unit/support/book_read.h"

#define SITES 5 /* that are asked, of the EDGES / PER_SITE there are */
#define PER_SITE 10
#define IN_ONE 1800 /* digests in a report */
#define QUESTIONS 200000

static uint64_t seed = 88172645463325252ULL;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int64_t cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static size_t memory(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static bool is_gone(const char *edge, void *arg) {
    (void)edge, (void)arg;
    return false;
}

static void on_done(struct book_entry *e) {
    if (e->code < 0) exit(1);
    loop_stop(e->loop);
}

static void site_name(char out[MEMBER_NAME_MAX], unsigned edge) {
    snprintf(out, MEMBER_NAME_MAX, "site-%u", edge / PER_SITE);
}

/* In rising order and at random, by chances: HELD of BLOBS in the end. */
static void report_all(struct report_book *b, struct loop *l, unsigned edge, const uint8_t *all, unsigned held,
                       unsigned blobs) {
    for (unsigned at = 0, left = held; left > 0;) {
        struct book_entry e = {.loop = l, .done = on_done};
        snprintf(e.edge, sizeof(e.edge), "edge-%u", edge);
        site_name(e.site, edge);
        struct wire_holdings *w = e.report.holdings = xcalloc(1, sizeof(*w));
        w->gained.bytes = xmalloc((size_t)IN_ONE * NUMBERED_DIGEST);
        for (; w->gained.n < IN_ONE && left > 0; at++) {
            if (next_random() % (blobs - at) >= left) continue;
            memcpy(w->gained.bytes + w->gained.n++ * NUMBERED_DIGEST, all + (size_t)at * NUMBERED_DIGEST,
                   NUMBERED_DIGEST);
            left--;
        }
        if (!report_book_take(b, &e)) loop_run(l);
    }
}

static double ask_us(struct holdings *h, const uint8_t *all, unsigned blobs) {
    char names[SITES][MEMBER_NAME_MAX];
    const char *sites[SITES];
    const struct holder *who[SITES * PER_SITE];
    size_t found = 0;
    for (unsigned i = 0; i < SITES; i++) {
        site_name(names[i], 7 * i * PER_SITE);
        sites[i] = names[i];
    }
    int64_t began = cpu_us();
    for (unsigned i = 0; i < QUESTIONS; i++) {
        struct digest d = {.alg = DIGEST_SHA256};
        memcpy(d.bytes, all + next_random() % blobs * NUMBERED_DIGEST, NUMBERED_DIGEST);
        found += holdings_at_sites(h, &d, sites, SITES, who, SITES * PER_SITE);
    }
    int64_t took = cpu_us() - began;
    if (found == 0) exit(1);
    return (double)took / QUESTIONS;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    unsigned edges = (unsigned)atoi(argv[2]), held = (unsigned)atoi(argv[3]), blobs = (unsigned)atoi(argv[4]);
    char path[512];
    struct error err = {0};
    struct report_book *b;
    struct stat st;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "holdings");
    snprintf(path, sizeof(path), "%s/reports.db", argv[1]);
    uint8_t *all = xmalloc((size_t)blobs * NUMBERED_DIGEST);
    for (unsigned i = 0; i < blobs; i++) {
        struct digest d;
        digest_of(&d, DIGEST_SHA256, &i, sizeof(i));
        memcpy(all + (size_t)i * NUMBERED_DIGEST, d.bytes, NUMBERED_DIGEST);
    }
    struct loop *l = loop_new("bench");
    struct holdings *h = holdings_new(2 * (size_t)blobs);
    if (report_book_open(&b, path, h, 1000, is_gone, NULL, &err) < 0) return 1;
    book_until_read(b, l);
    int64_t began = cpu_us();
    for (unsigned i = 0; i < edges; i++)
        report_all(b, l, i, all, held, blobs);
    double told_s = (double)(cpu_us() - began) / 1e6;
    report_book_close(b);
    holdings_free(h);
    if (stat(path, &st) < 0) return 1;
    malloc_trim(0);
    size_t before = memory();
    h = holdings_new(2 * (size_t)blobs);
    began = cpu_us();
    if (report_book_open(&b, path, h, 1000, is_gone, NULL, &err) < 0) return 1;
    double open_s = (double)(cpu_us() - began) / 1e6;
    book_until_read(b, l);
    double load_s = (double)(cpu_us() - began) / 1e6;
    report_book_close(b);
    double mib = (double)(memory() - before) / (double)MiB;
    printf("{\"memory_mib\": %.1f, \"disk_mib\": %.1f, \"ask_us\": %.2f, \"open_s\": %.3f, \"load_s\": %.2f, "
           "\"told_us\": %.1f}\n",
           mib, (double)st.st_size / (double)MiB, ask_us(h, all, blobs), open_s, load_s,
           told_s * 1e6 / ((double)edges * held));
    holdings_free(h);
    loop_free(l);
    free(all);
    return 0;
}
