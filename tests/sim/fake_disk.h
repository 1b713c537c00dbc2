/* What a simulated edge says of blobs that it does not have: which it gained and lost, and how often tags were pulled. It
 * tells changes alone, and what was not answered again; that central then has another digest is counted, not mended.
 * Thread: the simulator's loop. */
#ifndef ENTREPOT_SIM_FAKE_DISK_H
#define ENTREPOT_SIM_FAKE_DISK_H

#include "common/wire/edge_report.h"

/* What all edges share, and what came of their reports. Zero-initialise; fake_disks_fini. `every` may be set at any
 * time. */
struct fake_disks {
    unsigned held;  /* blobs of each edge; 0: nothing is told */
    unsigned every; /* with each so manieth report an edge loses a blob, gains one, and tells of pulls; 0: with none */
    uint8_t *digests;
    uint32_t blobs;              /* different ones */
    int64_t told, differ, pulls; /* changes that central took; answers of another digest; pulls that are counted */
};
/* blobs: at least held. A second call may change `held` alone. False: it would do more. */
bool fake_disks_set(struct fake_disks *all, unsigned held, uint32_t blobs) must_check;
void fake_disks_fini(struct fake_disks *all);

struct fake_disk;
struct fake_disk *fake_disk_new(struct fake_disks *all);
void fake_disk_free(struct fake_disk *d);
/* Adds to a report; wire_report_fini frees it. */
void fake_disk_tell(struct fake_disk *d, struct wire_report *m);
/* Instead of a report, while central is away: what clients pull meanwhile is told later, batch by batch. */
void fake_disk_wait(struct fake_disk *d);
/* What central has answered to it; NULL: nothing. */
void fake_disk_answered(struct fake_disk *d, const struct wire_report_response *rs);
/* Whether there is more to tell than what was. */
bool fake_disk_has_more(const struct fake_disk *d);

#endif
