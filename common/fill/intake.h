/* The bytes from a source on their way into the file. Only intake.c touches the fields. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_INTAKE_H
#define ENTREPOT_FILL_INTAKE_H

#include "common/fill/fill.h"
#include "common/fill/step.h"

/* What comes from a source is gathered to so much before it is written: readers are woken less often, the file system
 * has less to do, and its larger folios make warm streams a tenth cheaper than with half as much (ext4, Linux 6.18).
 * Twice as much no longer stays in the second-level cache and makes cold pulls dearer. */
#define FILL_GATHER (512 * KiB)

struct intake {
    int64_t taken;   /* come from the source, from the start on: what is written and what is gathered */
    int64_t written; /* contiguous from the start in the file */
};

int64_t intake_taken(const struct fill *f);
int64_t intake_written(const struct fill *f);
/* Sets how many bytes are in the file already. */
void intake_goes_on_from(struct fill *f, int64_t written);

/* Where a step is returned, it is STEP_STAY as long as more may come. */
enum fill_step intake_add(struct fill *f, const void *data, size_t len) must_check;
/* The same of what need not be gathered, when nothing is. */
enum fill_step intake_direct(struct fill *f, const void *data, size_t len) must_check;
/* Nothing more comes for now: what is gathered goes to the file, to readers and to the hasher. */
enum fill_step intake_flush(struct fill *f) must_check;
/* Forgets what is gathered. */
void intake_drop(struct fill *f);
/* Forgets what comes after `to`, in the file too. */
void intake_take_back(struct fill *f, int64_t to);

#endif
