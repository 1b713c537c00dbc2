/* The blobs of an edge are a window that moves over all blobs, in an order of its own. Thread: see fake_disk.h. */
#include "tests/sim/fake_disk.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/records/holding_tiles.h"

#define IN_ONE 1800u       /* changes in a report, as an edge tells them */
#define PULLED_NAMES 1000u /* that all edges pull */
#define IN_BATCH 5u

struct place {
    uint64_t low, high; /* the blobs from low, and below high, in the edge's order */
    struct set_digest sum;
};

struct fake_disk {
    struct fake_disks *all;
    uint64_t first, stride;   /* of its order */
    uint64_t low;             /* its window is from here on */
    struct place known, told; /* by central; as the report under way has it */
    bool answers;             /* central has taken the last report that it was told */
    uint64_t reports;
    uint8_t epoch[WIRE_PULLS_EPOCH];
    uint64_t batch, batch_taken, owed; /* owed: batches that were pulled while central was away */
};

bool fake_disks_set(struct fake_disks *all, unsigned held, uint32_t blobs) {
    if (blobs == 0 || held > blobs || (all->digests && blobs != all->blobs)) return false;
    all->held = held;
    if (all->digests) return true;
    all->blobs = blobs;
    all->digests = xmalloc((size_t)blobs * NUMBERED_DIGEST);
    for (uint32_t i = 0; i < blobs; i++) {
        struct digest d;
        digest_of(&d, DIGEST_SHA256, &i, sizeof(i));
        memcpy(all->digests + (size_t)i * NUMBERED_DIGEST, d.bytes, NUMBERED_DIGEST);
    }
    return true;
}

void fake_disks_fini(struct fake_disks *all) {
    free(all->digests);
    all->digests = NULL;
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct fake_disk *fake_disk_new(struct fake_disks *all) {
    struct fake_disk *d = xcalloc(1, sizeof(*d));
    d->all = all;
    if (RAND_bytes(d->epoch, sizeof(d->epoch)) != 1) abort();
    memcpy(&d->first, d->epoch, 4);
    return d;
}

void fake_disk_free(struct fake_disk *d) {
    free(d);
}

/* --- holdings --- */

static const uint8_t *digest_at(struct fake_disk *d, uint64_t k) {
    const uint32_t blobs = d->all->blobs;
    if (!d->stride)
        for (d->stride = d->first % blobs + 1; common_divisor(d->stride, blobs) != 1; d->stride++) {}
    return d->all->digests + (d->first + k % blobs * d->stride) % blobs * NUMBERED_DIGEST;
}

static void add(struct wire_digests *to, const uint8_t *digest) {
    if (!to->bytes) to->bytes = xmalloc((size_t)IN_ONE * NUMBERED_DIGEST);
    memcpy(to->bytes + to->n++ * NUMBERED_DIGEST, digest, NUMBERED_DIGEST);
}

static bool is_settled(const struct fake_disk *d) {
    return d->known.low == d->low && d->known.high == d->low + d->all->held;
}

/* A window that has become smaller loses its beginning. */
static void move_window(struct fake_disk *d, bool changes) {
    if (d->known.high > d->low + d->all->held) d->low = d->known.high - d->all->held;
    if (changes && is_settled(d)) d->low++;
}

/* A whole turn over all blobs ends before it gains what it has yet to lose: losses come first. A central that has not
 * taken the last is told the digest alone, as by an edge. */
static void tell_holdings(struct fake_disk *d, struct wire_report *m) {
    struct wire_holdings *w = m->holdings = xcalloc(1, sizeof(*w));
    struct place *p = &d->told;
    *p = d->known;
    for (; d->answers && p->low < d->low && w->lost.n < IN_ONE; p->low++) {
        const struct set_digest element = holding_element(digest_at(d, p->low));
        add(&w->lost, digest_at(d, p->low));
        set_digest_take(&p->sum, &element);
    }
    for (; d->answers && p->high < d->low + d->all->held && w->lost.n + w->gained.n < IN_ONE; p->high++) {
        const struct set_digest element = holding_element(digest_at(d, p->high));
        add(&w->gained, digest_at(d, p->high));
        set_digest_add(&p->sum, &element);
    }
    set_digest_put(&p->sum, w->digest);
}

/* --- pulls --- */

static uint64_t pulls_of(const struct fake_disk *d, unsigned i) {
    return 1 + (d->batch + i) % 5;
}

/* Of names that only the number of the batch decides: it is told again as it was. */
static void tell_pulls(const struct fake_disk *d, struct wire_report *m) {
    struct wire_pulls *w = m->pulls = xcalloc(1, sizeof(*w));
    memcpy(w->epoch, d->epoch, sizeof(w->epoch));
    w->sequence = d->batch;
    w->counts = xcalloc(IN_BATCH, sizeof(*w->counts));
    for (; w->n < IN_BATCH; w->n++) {
        struct wire_pull *c = &w->counts[w->n];
        snprintf(c->repository, sizeof(c->repository), "docker.io/library/app-%u",
                 (unsigned)((d->first + d->batch * IN_BATCH + w->n) % PULLED_NAMES));
        snprintf(c->tag, sizeof(c->tag), "v1");
        c->count = pulls_of(d, (unsigned)w->n);
    }
}

static void count_pulls(struct fake_disk *d) {
    for (unsigned i = 0; i < IN_BATCH; i++)
        d->all->pulls += (int64_t)pulls_of(d, i);
    d->batch_taken = d->batch;
}

/* --- reports --- */

void fake_disk_tell(struct fake_disk *d, struct wire_report *m) {
    if (d->all->held == 0) return;
    bool changes = d->all->every && ++d->reports % d->all->every == 0;
    move_window(d, changes);
    tell_holdings(d, m);
    if ((changes || d->owed > 0) && d->batch == d->batch_taken) {
        d->owed -= !changes;
        d->batch++;
    }
    if (d->batch > d->batch_taken) tell_pulls(d, m);
}

void fake_disk_wait(struct fake_disk *d) {
    if (d->all->held > 0 && d->all->every && ++d->reports % d->all->every == 0) d->owed++;
}

void fake_disk_answered(struct fake_disk *d, const struct wire_report_response *rs) {
    d->answers = rs && rs->holdings != WIRE_HOLDINGS_NOT_TAKEN;
    if (!d->answers || d->all->held == 0) return;
    d->all->told += (int64_t)(d->told.low - d->known.low + d->told.high - d->known.high);
    d->all->differ += rs->holdings == WIRE_HOLDINGS_DIFFER;
    d->known = d->told;
    if (d->batch > d->batch_taken && rs->pulls_taken >= d->batch) count_pulls(d);
}

bool fake_disk_has_more(const struct fake_disk *d) {
    return d->all->held > 0 && (!d->answers || !is_settled(d) || d->batch > d->batch_taken || d->owed > 0);
}
