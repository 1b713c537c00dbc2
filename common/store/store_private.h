/* Structures shared by the files of the store. Nobody outside common/store includes this. Thread: as each function
 * says.
 *
 * Locks, in the order in which they may be taken: stripe, names, evict | parts | idle | quarantine. Under the last four
 * no other is taken. A stripe keeps changes of one digest apart: whoever moves its file, changes its table entry or
 * queues its row holds the stripe, so that rows are queued in the same order as the files change. It is the only one of
 * these locks that is held across a rename or unlink, and no serving loop takes it on a hit. */
#ifndef ENTREPOT_STORE_STORE_PRIVATE_H
#define ENTREPOT_STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/core/map.h"
#include "common/store/evict.h"
#include "common/store/files.h"
#include "common/store/index.h"
#include "common/store/intern.h"
#include "common/store/part.h"
#include "common/store/report.h"
#include "common/store/scopes.h"
#include "common/store/store.h"
#include "common/store/table.h"
#include "common/store/tag.h"
#include "common/store/tags.h"
#include "common/db/writer.h"

#define STORE_PATH_MAX 192
#define STRIPES 64u
#define INSPECT_MAX (8 * MiB)

struct evictor {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t cond;
    bool wanted, stopping;
    uint64_t rounds, fruitful; /* how often it has looked whether there is too much, and removed something */
    bool filled;               /* the blobs that were held at the start are in the queues */
};

/* The last failure of the disk, and the result of the last try to make a file. */
struct trouble {
    pthread_mutex_t lock; /* held while a file is made */
    int code;             /* 0: nothing */
    int64_t since_s;
    char doing[64];
    int64_t probed_ms; /* 0: never */
    int probe_code;
};

struct store {
    struct store_config cfg;
    char *dir;
    int dir_fd, lock_fd;
    struct workpool *pool, *own_pool;
    struct writer *writer;
    struct index index; /* index writer */

    struct table *table;
    struct intern *media;
    struct scopes *scopes;
    struct tags *tags;
    struct writer_job trim_tags;
    atomic_bool trims_tags;
    _Atomic int64_t trim_tags_above; /* above this many tags a trim is tried again; raised while the excess must stay */
    struct files *files;
    pthread_mutex_t stripes[STRIPES];
    pthread_mutex_t names_lock; /* a new name's row is queued before anything that uses its number */

    pthread_mutex_t evict_lock; /* guards evict */
    pthread_mutex_t bulk_lock;  /* the evictor and prunes: each sees what is held after the other, and evicts no more */
    struct evict *evict;
    struct evictor evictor;
    struct digest *cleared; /* files that space_clear has removed; their entries are dropped once there is an index */
    size_t n_cleared;
    pthread_mutex_t children_lock; /* guards children_db, which only eviction reads */
    sqlite3 *children_db;
    sqlite3_stmt *children_of;

    pthread_mutex_t parts_lock; /* guards parts */
    struct map *parts;          /* digest to struct part_record */
    _Atomic uint64_t next_temp;

    _Atomic int64_t blobs, bytes, manifests, part_bytes, n_parts, evictions, evicted_bytes, adopted;
    /* What the limit counts is what the disk gives (room_on_disk). */
    _Atomic int64_t blobs_on_disk, parts_on_disk, quarantine_on_disk, index_on_disk;
    _Atomic int64_t manifests_on_disk, fixed_on_disk; /* of blobs_on_disk: manifests; what is hosted */
    int64_t block;                                    /* of the file system; constant once the folder is open */
    struct trouble trouble;
    pthread_mutex_t quarantine_lock; /* its counters are those of one look */
    _Atomic int64_t n_quarantined, quarantine_bytes;
    _Atomic int64_t rotten;                               /* since start: held blobs whose bytes were wrong */
    _Atomic int64_t disk_free, disk_total, since_statvfs; /* by the last statvfs; bytes written since */
    _Atomic int64_t inodes_free, inodes_total; /* as last asked; total 0: the file system makes them as needed */
    _Atomic int64_t index_asked_ms;            /* 0: never */
    _Atomic bool touched;                      /* the use of some entry is not on disk yet */
    _Atomic uint32_t dirty_dirs[2][8];         /* folders renamed into since they were last synced, a bit each */

    pthread_mutex_t idle_lock; /* guards in_flight, reconciled */
    pthread_cond_t idle;
    int in_flight; /* jobs of the store in the work pool */
    bool reconciled;
    _Atomic bool closing;
    _Atomic bool stopping; /* bulk work must end */
    struct work reconcile_work;
    void *guard_state;    /* of cfg.guard */
    bool index_is_new;    /* control thread, before others run */
    struct map *salvaged; /* until reconciliation is over: digest to struct salvaged; NULL: the index was good */
};

/* --- folder.c: paths are relative to dir_fd --- */
/* Control thread. Makes and locks the folder, and reports what in it cannot be written. */
int folder_open(struct store *s, struct error *err) must_check;
void folder_blob_path(const struct digest *d, char out[STORE_PATH_MAX]);
void folder_part_path(const struct digest *d, char out[STORE_PATH_MAX]);
/* rename into blobs/, making the folder if need be; marks it for folder_sync. ERR_NO_SPACE or -errno. */
int folder_move_in(struct store *s, const char *from, const struct digest *d);
/* Removes the folder of d's file if nothing else is in it: it is made again when it is needed. */
void folder_drop_empty(struct store *s, const struct digest *d);
/* What the index and the folders of blobs take on the disk. Blocks for as many looks as there are folders. */
int64_t folder_overhead(const struct store *s);
/* Syncs the folders that were renamed into. Index writer. */
void folder_sync(struct store *s);
pthread_mutex_t *folder_stripe(struct store *s, const struct digest *d);

/* --- jobs.c --- */
void store_work_begin(struct store *s);
void store_work_end(struct store *s);

/* --- store.c --- */
/* fresh: the index is made anew. */
int store_open_with(struct store **out, const struct store_config *cfg, bool fresh, struct error *err) must_check;

/* --- held.c: the one door through which blobs become held or cease to be. Under d's stripe. --- */
/* Makes d held. True if it is new. */
bool held_put(struct store *s, const struct digest *d, const struct table_value *v, uint32_t used_at);
/* Removes d from memory and from the eviction queues, and queues the deletion of its row, after which on_change is
 * called. False if it is not held. */
bool held_remove(struct store *s, const struct digest *d, struct table_value *was);
/* As held_remove, and the file goes too (to `to` if not NULL). 0, ERR_NOT_FOUND: not held; -errno: it is held no more,
 * but its file could not be moved or removed (logged). */
int held_discard(struct store *s, const struct digest *d, const char *to);
/* Evicts d, its file first. Returns the bytes freed on the disk, at least 1; -errno: the file could not be removed, and
 * d is still held; 0: it is not held. */
int64_t held_evict(struct store *s, const struct digest *d);
/* Queues d's row, which is written as memory is by then; with a scope (0: none) its row, too. */
void held_queue_row(struct store *s, const struct digest *d, uint32_t scope);
/* Writes entries' use to the index, in batches. Evictor and close. */
void held_flush_use(struct store *s);
/* The number of a media type, its row queued if it is new; with too many of them, that of INTERN_MEDIA_ANY. */
uint32_t held_media(struct store *s, const char *name);
/* Drops the scopes that no blob is in any more. Blocks for a walk through the table: evictor, or at open. */
void held_sweep_scopes(struct store *s);
/* Adds an entry to the counters (sign 1), or takes it out (-1). */
void held_count(struct store *s, const struct table_value *v, int sign);
/* Flags and table entry to struct blob_info. */
void held_info(const struct store *s, const struct table_value *v, struct blob_info *info);

/* --- trouble.c --- */
/* Notes that writing was refused. store_trouble reports it until there has been no failure for ten minutes. doing:
 * "opening a part file". */
void trouble_note(struct store *s, const char *doing, int code);
/* Makes a file, fills it, and lets it reach the disk; only dir_fd is looked at. 0 or -errno. */
int trouble_probe(const struct store *s);
/* Logs a failure in s->dir. code: the negative errno of what was being done. */
void trouble_say(const struct store *s, const char *doing, int code, struct error *err);

/* --- commit.c --- */
/* Commits p and waits for it; p is gone. Any thread that may block. */
int commit_and_wait(struct part *p, const struct commit_info *info) must_check;
/* Work pool. Adopts a file in blobs/ that has no row. */
void commit_adopt(struct store *s, const struct digest *d, const struct commit_info *info);

/* --- part.c --- */
struct part {
    struct store *store;
    struct digest digest;
    struct open_file *file;
    int64_t len;            /* highest end written */
    int64_t expected;       /* how long it will be; 0: nobody has said */
    int64_t reserved;       /* end of the space that is reserved on the disk, possibly beyond len */
    int64_t untold_checked; /* while its length is unknown: space was checked up to here */
    bool refused;           /* it will never fit, so nothing is evicted for it */
    bool temp;              /* made by store_put_file: has no record and cannot be continued */
    char path[STORE_PATH_MAX];
};
/* The file is in blobs/ now, or back in fills/: p is gone. */
void part_moved(struct part *p);

/* --- parts.c --- */
struct part_record {
    int64_t len, mtime;
    bool open;
};
/* At open: notes the part files and removes stray temporary ones. */
int parts_scan(struct store *s, struct error *err) must_check;
/* Removes the oldest closed part file if it was not touched since `before`, or if all closed ones have more than
 * `allowed` bytes. Returns what it took on the disk, -1 if there is none or it cannot be removed. */
int64_t parts_drop_oldest(struct store *s, int64_t before, int64_t allowed);
/* Marks d's part as the caller's. *len: bytes it had. ERR_BUSY if somebody has it open, or there are far too many. */
int parts_claim(struct store *s, const struct digest *d, int64_t *len) must_check;
/* Gives it back: kept with `len` bytes, or (-1) gone. */
void parts_unclaim(struct store *s, const struct digest *d, int64_t len);

/* --- room.c --- */
/* What is freed, or is to be: bytes on the disk, and inodes. */
struct room {
    int64_t bytes, files;
};
/* What a file of that length takes of the disk: whole blocks. */
int64_t room_on_disk(const struct store *s, int64_t len);
/* A part file had `from` bytes and has `to`. */
void room_count_part(struct store *s, int64_t from, int64_t to);
/* Looks at the file system, and at the size of the index (seldom). */
void room_ask_disk(struct store *s);
void room_ask_index(struct store *s);
/* Bytes that are taken: what the limit bounds. */
int64_t room_used(const struct store *s);
/* What may be taken, as far as is known. */
int64_t room_capacity(const struct store *s);
/* With `grow` more: bytes over the mark where eviction starts, counted to the mark where it stops; 0: below. */
int64_t room_excess(const struct store *s, int64_t grow);
/* The same now, and the inodes that are short. */
struct room room_wanted(const struct store *s);
/* Bytes beyond what even a fill in full flow may take. */
int64_t room_beyond(const struct store *s, int64_t grow);
/* So few inodes are left that folders and fills may soon fail for want of them. */
bool room_inodes_short(const struct store *s);
bool room_has_evictable(const struct store *s);
/* True if so many more bytes would cause an eviction. */
bool room_would_evict(const struct store *s, int64_t grow);
/* The largest blob for which there can be room, whatever else goes, in bytes on the disk; INT64_MAX: unlimited. */
int64_t room_largest(struct store *s);

/* --- space.c --- */
enum { SPACE_QUICK = 1 }; /* a fetch loop asks: few victims, nothing that needs the index */
int space_start(struct store *s, struct error *err) must_check;
/* Before space_start, when the disk has no room for the index: removes what may go, by the table alone. Bytes. */
int64_t space_clear(struct store *s);
void space_stop(struct store *s);
/* Before a part of `from` bytes grows to `to`: 0, and they are counted, or ERR_NO_SPACE. */
int space_reserve(struct store *s, int64_t from, int64_t to) must_check;
/* After the system has said that there is no room (bytes or inodes): evicts a little, at the caller's hand. True if
 * something went, so that it is worth trying again. want: bytes. */
bool space_make_room(struct store *s, int64_t want);
/* Waits until the evictor has looked again, and says whether it has removed something. It may remove what is not removed
 * at a fill's own hand: manifests. Thread: one that may wait for seconds. */
bool space_await_evictor(struct store *s);
/* A file was made. */
void space_count_file(struct store *s);

/* --- guard.c --- */
int guard_open(struct store *s, struct error *err) must_check;
void guard_close(struct store *s);
/* True if the blob has no other source, as far as the index (flags) or the guard knows. */
bool guard_keeps(const struct store *s, const struct digest *d, unsigned flags);
/* tag.c: if there are more tags than tags_max, soon forgets those whose manifest is not held, not requested for longest
 * first. */
void tags_keep_bounded(struct store *s);
bool guard_keeps_tag(const struct store *s, const char *repo, const char *tag);

/* --- salvage.c --- */
#define SALVAGED_SCOPES 8
struct salvaged {
    unsigned flags; /* BLOB_HOSTED */
    uint32_t n_scopes, scopes[SALVAGED_SCOPES];
    size_t n_repositories; /* a manifest's */
    char **repositories;
};
/* The index has been made anew and the old one is beside it: tags are taken over, and s->salvaged is filled. */
void salvage(struct store *s, const char *path);

/* --- quarantine.c --- */
/* Counts the files in quarantine/ and removes the oldest over the limit. */
void quarantine_bound(struct store *s);
/* Moves the file of a held blob there; it is held no more. */
int quarantine_take(struct store *s, const struct digest *d, struct error *err) must_check;

/* --- reconcile.c --- */
/* Compares folder and table; *missing and *adopted are added to. Work pool or a command. */
void reconcile(struct store *s, int64_t *missing, int64_t *adopted);
void reconcile_start(struct store *s);

#endif
