/* What `doctor` says of the data folder, of what is hosted and of rot. Thread: main. */
#include "common/cli/doctor_checks.h"

#include "common/cli/print.h"
#include "common/core/json.h"
#include "common/inventory/store_alone.h"
#include "common/store/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Whether the folder's owner may write; a run as root asks for the owner. */
static bool owner_can_use(const char *data, struct error *err) {
    int r = store_alone_as_owner(data, err);
    if (r == 0) r = store_check_folder(data, err);
    store_alone_as_self();
    return r == 0;
}

void doctor_check_data(struct doctor *d, struct doctor_check *c) {
    const char *data = d->node->data;
    struct stat st;
    struct statvfs fs;
    char free_text[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
    if (stat(data, &st) < 0 || statvfs(data, &fs) < 0) {
        bool fresh = errno == ENOENT && !d->status;
        doctor_say(c, fresh ? DOCTOR_WARN : DOCTOR_FAIL, "%s: %s", data, strerror(errno));
        doctor_todo(c,
                    fresh ? "it is made by the first start" : "make the folder, owned by the user the daemon runs as");
        return;
    }
    char limit_text[SIZE_TEXT_MAX];
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize, all = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    const json_t *store = json_object_get(d->status, "store"), *trouble;
    struct error err = {0};
    int64_t limit = json_int(store, "limit", -1); /* as the store has it; unknown without a daemon */
    size_text(room, free_text);
    if (!S_ISDIR(st.st_mode)) {
        doctor_say(c, DOCTOR_FAIL, "%s is not a folder", data);
        doctor_todo(c, "move it away, or set the key data to another path");
    } else if (access(data, R_OK | W_OK | X_OK) < 0) {
        doctor_say(c, DOCTOR_FAIL, "%s may not be written by this user (it belongs to user %u)", data,
                   (unsigned)st.st_uid);
        doctor_todo(c, "run this as the daemon's user, or: chown -R that user %s", data);
    } else if (fs.f_flag & ST_RDONLY) {
        doctor_say(c, DOCTOR_FAIL, "%s is on a file system mounted read-only", data);
        doctor_todo(c, "look for disk errors in the kernel's log (dmesg), then mount it writable again");
    } else if ((trouble = json_object_get(store, "trouble"))) {
        doctor_say(c, DOCTOR_FAIL, "%s", json_text(trouble, "message", "?"));
        doctor_todo(c, "%s", json_text(trouble, "what_to_do", "?"));
    } else if (!d->status && !owner_can_use(data, &err)) {
        doctor_say(c, DOCTOR_FAIL, "%s", err.msg);
        doctor_todo(c, "%s", err.hint);
    } else if (limit < 0) {
        doctor_say(c, DOCTOR_OK, "%s is writable, %s free on its file system", data, free_text);
    } else if (limit == 0) {
        doctor_say(c, DOCTOR_FAIL,
                   "nothing can be kept in %s: %s are free, and store.min_free keeps %s free; pulls are passed "
                   "through",
                   data, free_text, size_text(d->node->store_min_free, want));
        doctor_todo(c, "free space, give it a larger file system, or lower store.min_free");
    } else if (limit < all / 50) {
        doctor_say(c, DOCTOR_WARN, "the store in %s may take only %s (%s free, of which store.min_free keeps %s)", data,
                   size_text(limit, limit_text), free_text, size_text(d->node->store_min_free, want));
        doctor_todo(
            c, "beyond that what is least used is evicted, and what is larger is passed through; give it more room");
    } else {
        doctor_say(c, DOCTOR_OK, "%s is writable; the store may take %s, %s free on its file system", data,
                   size_text(limit, limit_text), free_text);
    }
}

/* "sha256:… of acme/app, …", as many as there is room for. */
static void list_missing(const json_t *list, char *out, size_t cap) {
    const json_t *m, *repo;
    size_t i, k, len = 0;
    out[0] = '\0';
    json_array_foreach(list, i, m) {
        if (len + 120 > cap) break;
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? "; " : "", json_text(m, "digest", "?"));
        json_array_foreach(json_object_get(m, "repositories"), k, repo) {
            if (len + 80 > cap || k == 3) break;
            len += (size_t)snprintf(out + len, cap - len, "%s%.60s", k ? ", " : " of ", json_string_value(repo));
        }
    }
}

void doctor_check_hosted(struct doctor *d, struct doctor_check *c) {
    const json_t *h = json_object_get(d->doctor, "hosted");
    const char *doubt = json_string_value(json_object_get(h, "doubt"));
    int64_t missing = json_int(h, "missing", 0), blobs = json_int(h, "blobs", 0);
    char list[500];
    if (d->node->kind != NODE_CENTRAL || !h) {
        doctor_say(c, DOCTOR_SKIP, "%s",
                   d->node->kind == NODE_CENTRAL ? "the daemon does not answer" : "nothing is hosted on an edge");
    } else if (missing > 0) {
        list_missing(json_object_get(h, "missing_blobs"), list, sizeof(list));
        char all[SIZE_TEXT_MAX];
        doctor_say(c, DOCTOR_FAIL, "%lld of %s %s missing: %s", (long long)missing,
                   count_text(blobs, "hosted blob", all), missing == 1 ? "is" : "are", list);
        doctor_todo(
            c,
            "mount or put back their files under %.150s/blobs (they are seen when asked for, by verify and at a "
            "start), "
            "or load the images again: %s load LAYOUT REPOSITORY:TAG",
            d->node->data, d->node->program);
    } else if (doubt) {
        doctor_say(c, DOCTOR_FAIL, "%s", doubt);
        doctor_todo(c, "compare `%s ls` with what should be there, load again what is missing, then remove %.150s/%s",
                    d->node->program, d->node->data, json_text(h, "notice", "?"));
    } else {
        char some[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX];
        doctor_say(c, DOCTOR_OK, "%s, %s, all of them here", count_text(json_int(h, "tags", 0), "tag", some),
                   count_text(blobs, "blob", all));
    }
}

void doctor_check_rot(struct doctor *d, struct doctor_check *c) {
    const json_t *store = json_object_get(d->status, "store");
    long long kept = json_int(store, "quarantined", 0), rotten = json_int(store, "rotten", 0);
    char bytes[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    if (doctor_needs(c, store != NULL, "no daemon runs")) return;
    if (kept == 0 && rotten == 0) {
        doctor_say(
            c, DOCTOR_OK,
            "no blob with wrong bytes was found since the start, and none is in quarantine; `%s verify` reads all",
            d->node->program);
        return;
    }
    doctor_say(c, DOCTOR_WARN, "%s had wrong bytes since the start; %lld, %s, %s in %.200s/quarantine",
               count_text(rotten, "blob", blobs), kept, size_text(json_int(store, "quarantine_bytes", 0), bytes),
               kept == 1 ? "is" : "are", d->node->data);
    doctor_todo(
        c,
        "the disk or the memory of this machine may be failing: look into the kernel's log (dmesg, smartctl) and run "
        "`%s verify`; what is mirrored is fetched again. Remove the files in quarantine when you have seen them",
        d->node->program);
}
