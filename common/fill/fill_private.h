/* The parts of a fill, shared by the files of this folder only. Each part is a struct of its own, and only the file of
 * its name touches its fields (tests/layers checks that); the others call that file's functions. Thread: fetch loop,
 * unless a part's header says otherwise. */
#ifndef ENTREPOT_FILL_FILL_PRIVATE_H
#define ENTREPOT_FILL_FILL_PRIVATE_H

#include "common/core/log.h"
#include "common/core/map.h"
#include "common/fill/aside.h"
#include "common/fill/bytes.h"
#include "common/fill/check.h"
#include "common/fill/fill.h"
#include "common/fill/intake.h"
#include "common/fill/keep.h"
#include "common/fill/pace.h"
#include "common/fill/plan.h"
#include "common/fill/shared.h"
#include "common/fill/step.h"
#include "common/fill/stretch.h"
#include "common/fill/window.h"

/* Readers are told when so many more bytes are there, or when no more come for the moment. */
#define FILL_TELL (1 * MiB)
/* How long a fill without readers waits before it pauses. */
#define FILL_LINGER_MS 2000

struct reader_list {
    struct fill_reader *first;
    unsigned n; /* those that were left behind do not count */
};

struct life {
    atomic_uint refs;
    /* Fetch loop. */
    enum fill_step step;
    struct fetch_end end; /* STEP_FAILED: why */
    bool in_table;
    bool advice_pending; /* the catalogue has been asked and has not answered */
    struct reader_list readers;
    bool wanted_later; /* by a reader that has left */
    int64_t told;      /* of what is visible, what readers were last told of */
    struct timer retry, tick, linger;
    struct loop_task consumed_task;
    struct fill *next, *prev; /* all fills of this loop */
};

struct fill {
    struct fill_engine *engine;
    struct loop *loop;
    struct fill_spec spec;
    struct shared shared;     /* what readers see */
    struct bytes bytes;       /* where the bytes are */
    struct window window;     /* memory for what the disk does not take */
    struct pace pace;         /* which readers make the others wait for that */
    struct intake intake;     /* how many have come */
    struct check check;       /* which of them are hashed and proved */
    struct plan plan;         /* whom to ask for what */
    struct stretches stretch; /* what is under way */
    struct asides aside;      /* what has come ahead of its turn */
    struct keep keep;         /* what the store is told in the end */
    struct life life;         /* its step, its readers, its references */
};

struct fill_reader {
    struct fill_engine *engine;
    struct loop *loop; /* serving */
    struct loop *home; /* fetch loop */
    struct fill_spec spec;
    void (*event)(struct fill_reader *r, void *arg);
    void *arg;
    _Atomic(struct fill *) fill; /* holds a reference; set once by the fetch loop */
    _Atomic int64_t consumed;    /* the lowest byte it may still ask for */
    _Atomic int64_t until;       /* the end of the highest; INT64_MAX: of the blob */
    atomic_bool left_behind;     /* set once by the fetch loop: it has to stand aside */
    struct loop_task attach, detach, notify, gone;
    /* Serving loop. */
    bool detached, is_cut, will_return;
    bool part;         /* fill_want.whole is false */
    bool lost;         /* fill_reader_settle has said no */
    int64_t told_size; /* fill_want.size */
    int64_t handed;    /* end of what was handed out */
    unsigned rewinds_seen;
    /* Fetch loop. */
    bool joined;
    int64_t held_up_ms;       /* others have waited for it, see pace.c */
    struct ask_waiter *claim; /* its right to it is being asked for */
    struct fill_reader *next;
};

/* One fetch loop's share of the engine. */
struct fill_shard {
    struct fill_engine *engine;
    struct loop *loop;
    struct map *table; /* digest -> fill, those that can be joined */
    struct fill *all;
    unsigned n_checks;     /* stretches at the hasher */
    char *gather;          /* FILL_GATHER bytes while any fill runs */
    struct fill *gathered; /* whose [written, taken) is in it; NULL: nobody's */
    bool stopping, told;
    int64_t slow_told_ms; /* when readers that were left behind were last logged; 0: never */
    unsigned slow_untold;
    struct loop_task stop;
};

struct fill_engine {
    struct fill_engine_config cfg;
    struct workpool *hashers;
    struct window_callers window_callers;
    struct kept_manifests kept_manifests;
    struct fill_shard *shards;
    unsigned n_shards;
    atomic_uint shards_running;
    void (*stopped)(void *arg);
    void *stopped_arg;
    _Atomic int64_t running, started, joined, completed, failed, mismatches, resumed_bytes, passed_through, left_behind;
};

struct fill_shard *fill_shard_of(struct fill_engine *e, const struct digest *d);
/* Fetch loop, when a fill is over: if the engine is stopping and this was the last one, says so. */
void fill_shard_check_stopped(struct fill_shard *sh);

/* fill.c; fetch loop, but for what is marked. */
/* A new fill for spec, in the table unless `unshared`; it starts at once and has one reference, its own, dropped when
 * over. */
struct fill *fill_start(struct fill_shard *sh, const struct fill_spec *spec, bool unshared);
/* A fill that is over before it began: f's file is the committed blob. */
struct fill *fill_of_held(struct fill_shard *sh, const struct fill_spec *spec, struct open_file *file,
                          const struct blob_info *info);
/* As above, failed. */
struct fill *fill_of_error(struct fill_shard *sh, const struct fill_spec *spec, const struct fetch_end *end);
struct fill_shard *fill_shard(struct fill *f);
/* Any thread that holds a reference. */
void fill_ref(struct fill *f);
void fill_unref(struct fill *f);
/* Any thread that holds a reference: a reader has moved on. */
void fill_poke(struct fill *f);

enum fill_step fill_step(const struct fill *f);
/* The one door from step to step: runs `next` and what follows from it. f may be gone after it, but for whoever holds a
 * reference. */
void fill_go(struct fill *f, enum fill_step next);
/* STEP_WAITING: the next try is due then. */
void fill_retry_in(struct fill *f, int64_t ms);
/* Returns STEP_FAILED. */
enum fill_step fill_fail(struct fill *f, const struct fetch_end *end) must_check;
/* Closes all, keeping the part files; readers are told ERR_CANCELLED. */
void fill_stop_all(struct fill_shard *sh);

void fill_reader_joins(struct fill *f, struct fill_reader *r);
void fill_reader_leaves(struct fill *f, struct fill_reader *r);
/* The fill goes on without r: it is told so, and no longer counts as a reader. Others follow f. */
void fill_leaves_behind(struct fill *f, struct fill_reader *r);
struct fill_reader *fill_first_reader(const struct fill *f);
/* More than one reader follows. */
bool fill_is_shared(const struct fill *f);
void fill_notify_readers(struct fill *f);
/* Shows readers what is written, but for the last piece, which waits for the whole digest. */
void fill_publish(struct fill *f);
/* Readers hear of all that is visible now. */
void fill_tell(struct fill *f);

/* opening.c; fetch loop. Opens the part file of a new fill if there is one; the first try follows, never before this
 * has returned. */
void fill_open(struct fill *f);
/* STEP_REOPENING, STEP_RESUMING */
enum fill_step fill_reopen(struct fill *f) must_check;
enum fill_step fill_resume(struct fill *f) must_check;

#endif
