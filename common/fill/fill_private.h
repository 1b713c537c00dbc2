/* The inside of a fill, shared by the files of this folder only. Which thread may touch what is said at each field. */
#ifndef ENTREPOT_FILL_FILL_PRIVATE_H
#define ENTREPOT_FILL_FILL_PRIVATE_H

#include "common/core/log.h"
#include "common/core/map.h"
#include "common/fill/fill.h"
#include "common/source/failure.h"
#include "common/store/part.h"

/* Bytes a fill may keep in memory when the disk takes no more: the window its readers must stay within. It takes them
 * from the budget pass_through, as few as FILL_WINDOW_MIN when that is short: a piece that is withheld until it is
 * proved, and as much again to go on with. */
#define FILL_WINDOW (16 * MiB)
#define FILL_WINDOW_MIN (2 * PIECE_SIZE)
#define FILL_WINDOW_TRY_MS 100
/* What comes from a source is gathered to so much before it is written: readers are woken less often, the file system
 * has less to do, and its larger folios make warm streams a tenth cheaper than with half as much (ext4, Linux 6.18).
 * Twice as much no longer stays in the second-level cache and makes cold pulls dearer. */
#define FILL_GATHER (512 * KiB)
/* Readers are told of so much at a time, unless nothing more is there for the moment. */
#define FILL_TELL (1 * MiB)
/* Ranged fetches beside the main one, for readers far ahead of it. */
#define FILL_ASIDE_MAX 4
#define FILL_ASIDE_BYTES (8 * MiB)

/* The steps of a fill's life; fill.c has the transitions. */
enum fill_step {
    STEP_FETCHING,   /* a source is sending */
    STEP_CHECKING,   /* the source has ended, or none has begun; the hasher has not got there yet */
    STEP_WAITING,    /* between two tries */
    STEP_COMMITTING, /* proved; being synced and renamed */
    STEP_OVER,       /* committed, passed through, failed or paused: only its readers keep it */
};

/* Whose word the size is. A later one outranks those before it. */
enum size_word {
    SIZE_CLAIMED, /* a manifest's, which anyone can write, or a source's of whose answer nothing is kept */
    SIZE_SENT,    /* the source's that is sending */
    SIZE_KNOWN,   /* the catalogue's, of a digest that was proved once */
};

struct reader_list {
    struct fill_reader *first;
    unsigned n;
};

/* A fill without readers waits so long before it pauses. */
#define FILL_LINGER_MS 2000

/* Whole pieces that are hashed before the loop is told. */
#define CHECK_PIECES 4

/* What the hasher is at, beside the fetch loop. While it runs the loop looks at its own, at `reached` and at the
 * proofs below that. */
struct check {
    bool running;            /* the loop's */
    unsigned generation;     /* the loop's; of the fill when it began: the result of an older one is dropped */
    int64_t from;            /* the loop's; where it began */
    _Atomic int64_t goal;    /* the loop raises it as more is written */
    _Atomic int64_t reached; /* the hasher raises it; below it the proofs are there */
    uint8_t proofs[CHECK_PIECES * PIECE_PROOF_MAX]; /* at the ends of pieces from `from` on */
    int code;                                       /* the file could not be read */
    struct hasher hasher;
    struct work work;
    struct loop_task done;
};

struct fill {
    atomic_uint refs;
    struct fill_engine *engine;
    struct loop *loop;
    struct fill_spec spec;

    /* Written by the fetch loop, read by readers' loops. */
    _Atomic int state;
    _Atomic int64_t size;         /* -1 unknown */
    _Atomic int64_t settled_size; /* as fill_reader_settled_size */
    _Atomic int64_t visible;      /* bytes from the start any reader may have */
    _Atomic int64_t proven;       /* bytes from the start that are proved piece by piece */
    _Atomic(const char *) source_name;
    atomic_uint rewinds;                 /* times that bytes were hidden again; grows before `visible` falls */
    _Atomic int64_t rewind_floor;        /* the lowest byte ever taken back */
    char media_type[MEDIA_TYPE_MAX + 1]; /* manifests: settled before state becomes FILL_PROVED */
    bool is_manifest;                    /* settled before state becomes FILL_PROVED */
    struct fetch_end end;                /* set once, before state becomes FILL_FAILED */
    _Atomic(struct fetch_end *) trouble; /* set once: the first failure of a source */
    struct open_file *disk;              /* set once, before anything is visible; NULL: all in the window */
    _Atomic(struct open_file *) window;  /* set once: a memory file with the same offsets, from window_from on */
    _Atomic int64_t window_from;
    _Atomic int64_t window_floor; /* from window_from to here bytes have been dropped; raised before they are */
    _Atomic(struct aside_file *) aside_file; /* set once: pieces that were fetched ahead of their turn */
    atomic_bool wants_consumed;              /* readers tell when they have moved on */

    /* Fetch loop only. */
    enum fill_step step;
    bool in_table;
    bool part_due;     /* there is no part file yet */
    bool has_flowed;   /* a source has agreed to send, if only for a while */
    bool wanted_later; /* by a reader that has left */
    enum size_word size_word;
    bool reopened; /* what an earlier life has left in the part file is not hashed yet */
    struct part *part;
    int64_t told;        /* of `visible`, what readers were last told of */
    int64_t taken;       /* come from the source, from the start on: what is written and what is gathered */
    int64_t written;     /* contiguous from the start in the file */
    int64_t hashed;      /* of those, hashed and so far not found wrong */
    unsigned generation; /* grows with every rewind */
    struct check check;
    bool paused;                  /* the source waits for readers */
    bool waits_for_window;        /* STEP_WAITING: until the budget has room for one */
    int64_t window_bytes;         /* taken from the budget; of 0 the window takes nothing */
    void (*then)(struct fill *f); /* STEP_CHECKING: what comes after it */
    struct fetch_end last;        /* how the fetch ended */
    struct hasher hasher;
    uint8_t *proofs; /* our own, at the ends of whole pieces */
    size_t n_proofs, cap_proofs;
    uint8_t *advised; /* the catalogue's */
    size_t n_advised;
    int64_t disproved; /* the piece that the catalogue disproved last; -1 none */
    uint8_t disproof[PIECE_PROOF_MAX];
    bool advice_pending;
    struct source *sources[SOURCES_MAX];
    unsigned char tries[SOURCES_MAX]; /* tries in a row that brought no byte */
    unsigned char lies[SOURCES_MAX];  /* times its bytes did not match */
    unsigned n_sources, source;
    struct fetch *fetch;
    int64_t fetch_from;
    const char *origin, *avoid_origin; /* within the source: who sends; whose bytes did not match */
    int64_t gone_since_ms;             /* the source cannot be reached since; 0: it can */
    struct failures failures;          /* of its sources */
    struct reader_list readers;
    struct timer retry, tick, linger;
    int64_t tick_written, rate; /* bytes a second */
    struct aside *asides;
    unsigned n_asides;
    unsigned aside_failures;
    bool aside_lied; /* the catalogue has disproved a piece fetched aside */
    char *scopes[4]; /* names: there is a number only for what was found */
    unsigned n_scopes;
    unsigned from_start; /* readers that want it from its start: of many ranges of one client, one does */
    struct loop_task consumed_task, committed;
    int commit_code;
    struct fill *next, *prev; /* all fills of this loop */
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
    struct loop_task attach, detach, notify, gone;
    /* Serving loop. */
    bool detached, poisoned, wants_it_later;
    bool part;         /* fill_want.whole is false */
    bool lost;         /* fill_reader_settle has said no */
    int64_t told_size; /* fill_want.size */
    int64_t handed;    /* end of what was handed out */
    unsigned rewinds_seen;
    /* Fetch loop. */
    bool joined;
    struct claim *claim;
    struct fill_reader *next;
};

/* One fetch loop's share of the engine. */
struct fill_shard {
    struct fill_engine *engine;
    struct loop *loop;
    struct map *table; /* digest -> fill, those that can be joined */
    struct fill *all;
    unsigned n_checks;     /* stretches at the hasher */
    unsigned n_waiting;    /* fills that wait for a window */
    char *gather;          /* FILL_GATHER bytes while any fill runs */
    struct fill *gathered; /* whose [written, taken) is in it; NULL: nobody's */
    bool stopping, told;
    struct loop_task stop;
};

struct fill_engine {
    struct fill_engine_config cfg;
    struct workpool *hashers;
    struct fill_shard *shards;
    unsigned n_shards;
    atomic_uint shards_running;
    void (*stopped)(void *arg);
    void *stopped_arg;
    _Atomic int64_t running, started, joined, completed, failed, mismatches, resumed_bytes, passed_through;
};

struct fill_shard *fill_shard_of(struct fill_engine *e, const struct digest *d);
/* Fetch loop, when a fill is over: if the engine is stopping and this was the last one, says so. */
void fill_shard_check_stopped(struct fill_shard *sh);

/* fill.c; fetch loop. A new fill for spec, in the table unless `apart`; it starts at once and has one reference, its
 * own, dropped when over. */
struct fill *fill_start(struct fill_shard *sh, const struct fill_spec *spec, bool apart);
/* A fill that is over before it began: f's file is the committed blob. */
struct fill *fill_of_held(struct fill_shard *sh, const struct fill_spec *spec, struct open_file *file,
                          const struct blob_info *info);
/* As above, failed. */
struct fill *fill_of_error(struct fill_shard *sh, const struct fill_spec *spec, const struct fetch_end *end);
void fill_reader_joins(struct fill *f, struct fill_reader *r);
void fill_reader_leaves(struct fill *f, struct fill_reader *r);
void fill_add_scope(struct fill *f, const char *scope);
bool fill_has_scope(const struct fill *f, const char *scope);
/* Closes, keeping the part file; readers are told ERR_CANCELLED. */
void fill_stop(struct fill *f);
void fill_unref(struct fill *f);
/* Any thread that holds a reference: a reader has moved on. */
void fill_poke(struct fill *f);
void fill_notify_readers(struct fill *f);
/* Shows readers what is written, but for the last piece, which waits for the whole digest. */
void fill_publish(struct fill *f);
/* Nothing from `to` on is visible until fill_publish. */
void fill_hide(struct fill *f, int64_t to);
/* Readers hear of all that is visible now. */
void fill_tell(struct fill *f);
/* The source that had agreed has failed: readers that have not begun wait for the next one's word. */
void fill_nobody_sends(struct fill *f);
void fill_fail(struct fill *f, const struct fetch_end *end);
/* Nothing of the fetch loop's is held after this; readers may keep the memory and the files. */
void fill_over(struct fill *f);
/* The next try, from what is written on. All of it is hashed. */
void fill_fetch(struct fill *f);
/* The source has sent what is not true: on to the next try. */
void fill_source_lied(struct fill *f, const char *what);
/* Pauses the source, or lets it go on, by what is in memory. */
void fill_hold_back(struct fill *f);
struct fill_shard *fill_shard(struct fill *f);
/* There is one, that a source's word outranks. */
bool fill_size_is_claimed(const struct fill *f);
void fill_set_size(struct fill *f, int64_t size, enum size_word word);

/* finish.c; fetch loop. All bytes are in and hashed: is it what was asked for? */
/* True if what is written, all of it hashed, is the whole blob. */
bool fill_digest_fits(const struct fill *f);
void fill_finish(struct fill *f);

/* opening.c; fetch loop. Opens the part file of a new fill if there is one, unless it is a fill `apart`; the first try
 * follows, never before this has returned. */
void fill_open(struct fill *f, bool apart);
/* There will be something to keep: makes the part file if none was there. */
void fill_make_part(struct fill *f);
/* The first try of one whose part file had something in it: that is hashed, then fill_fetch. */
void fill_reopen(struct fill *f);

/* intake.c; fetch loop: what comes from a source on its way into the file. Those that return bool say false if the fill
 * has gone on to something else meanwhile, and its fetch is no more. */
bool intake_add(struct fill *f, const void *data, size_t len);
/* The same of what need not be gathered, when nothing is. */
bool intake_direct(struct fill *f, const void *data, size_t len);
/* Nothing more comes for now: what is gathered goes to the file, to readers and to the hasher. */
bool intake_flush(struct fill *f);
/* Forgets what is gathered. */
void intake_drop(struct fill *f);

/* check.c; fetch loop: the running hash, beside the loop where that pays, and the proof of each piece. */
/* Something was written: it goes to the hasher, once there is enough of it. What that has got to meanwhile is taken
 * over. False as above: a piece was wrong. */
bool check_written(struct fill *f);
/* then(f) once everything written is hashed: now, or later in STEP_CHECKING; not at all if a piece is found wrong. */
void check_then(struct fill *f, void (*then)(struct fill *f));
/* The catalogue's word on pieces hashed before it came: takes back from the first wrong one. */
void check_against_advice(struct fill *f);
/* A piece was proved wrong, or what is in the file ahead is doubted: takes back everything from `to` on. */
void fill_rewind(struct fill *f, int64_t to);

/* window.c; fetch loop: memory for what the disk does not take. */
/* Takes a window's bytes from the budget, if that has not been done. False: there is no room. */
bool fill_window_take(struct fill *f);
/* What it needs no more goes back to the budget. */
void fill_window_settle(struct fill *f);
/* The source has to wait for readers. */
bool fill_window_full(struct fill *f);
/* In mid-body, and there is neither disk nor memory for more: the source is left, and asked for the rest when there is.
 */
void fill_window_wait(struct fill *f);
void fill_window_stop_waiting(struct fill *f);
/* A source agrees to send what cannot be kept, and nobody has been promised anything yet. True: it cannot be passed on
 * either, and the fill has failed with ERR_BUSY. */
bool fill_window_refused(struct fill *f);

/* bytes.c; fetch loop: where a fill's bytes are, on disk and, when the disk takes no more, in the window. */
/* ERR_BUSY: the disk takes no more, and there is no room for a window. */
int fill_bytes_write(struct fill *f, int64_t offset, const void *data, size_t len);
/* The hasher and the work pool too, of bytes that are there. */
int fill_bytes_read(struct fill *f, int64_t offset, void *data, size_t len);
void fill_bytes_drop_consumed(struct fill *f);
void fill_bytes_truncate(struct fill *f, int64_t len);
/* Any thread: a reader that begins at pos would come to bytes that have been dropped. */
bool fill_bytes_dropped(const struct fill *f, int64_t pos);

/* aside.c; fetch loop: ranged fetches for readers far ahead. */
void aside_consider(struct fill *f);
/* Nothing is fetched any more, and what was is on no disk; readers have it until the fill is freed. */
void aside_over(struct fill *f);
void aside_file_free(struct aside_file *af);
/* Pieces present from `piece` on, in a row. */
int64_t aside_run(const struct fill *f, int64_t piece);
void aside_forget(struct fill *f);
/* Any thread: bytes from pos on that were fetched ahead, at *at in *file (reference given to the caller). 0: none. */
int64_t aside_find(const struct fill *f, int64_t pos, struct open_file **file, int64_t *at);

/* claim.c; fetch loop: may this repository have it? Asks the repository's source by HEAD; then answered(r, ok, end). */
void claim_start(struct fill_shard *sh, struct fill_reader *r,
                 void (*answered)(struct fill_shard *sh, struct fill_reader *r, const struct fetch_end *end));
void claim_cancel(struct claim *c);

#endif
