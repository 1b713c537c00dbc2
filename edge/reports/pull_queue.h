/* Pulls by repository and tag, counted on an edge until central has taken them, in DATA/reports.db.
 *
 *   counted in memory ── a tenth of a second later ──▶ counts on the disk ── none is under way ──▶ a batch with a number
 *   batch ── told in each report until central says that it has taken it ──▶ gone; the next is made
 *
 * A batch never changes, also over a restart, so central knows by its epoch and number whether it has counted it. What
 * is counted while one is under way, or central is away, is added up by name; names beyond the bound are merged, those
 * pulled least first. Without its file nothing is counted. Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_REPORTS_PULL_QUEUE_H
#define ENTREPOT_EDGE_REPORTS_PULL_QUEUE_H

#include "common/core/loop.h"
#include "common/oci/name.h"
#include "common/wire/edge_report.h"

struct pull_queue;

/* Control thread. A damaged file is put aside. names_max: that are kept apart on the disk. */
int pull_queue_open(struct pull_queue **out, const char *path, struct loop *loop, unsigned names_max,
                    struct error *err) must_check;
/* Control thread, when no loop runs. What was counted is on the disk afterwards. */
void pull_queue_close(struct pull_queue *q);

/* Any thread, cheap: allocates only for a name that was not pulled for a while. */
void pull_queue_count(struct pull_queue *q, const struct repo_name *repo, const char *tag);

/* The batch to tell now; NULL: there is none, or central was told it a moment ago and does not take such. Valid until
 * pull_queue_answered. */
struct wire_pulls *pull_queue_tell(struct pull_queue *q, int64_t now_ms);
/* Central's answer to a report with that batch: the last one that it has taken of this epoch; 0: none. */
void pull_queue_answered(struct pull_queue *q, uint64_t taken, int64_t now_ms);

struct pull_queue_stats {
    int64_t counted;   /* pulls since the start */
    int64_t unwritten; /* of these, not on the disk yet: a kill would lose them */
    int64_t queued;    /* of those on the disk, in the batch or not yet */
    int64_t delivered; /* since the start */
};
/* Any thread. */
void pull_queue_stats(struct pull_queue *q, struct pull_queue_stats *out);

#endif
