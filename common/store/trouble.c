/* Whether the store can be written: keeps the last failure until ten minutes have passed without one, and makes a small
 * file to find out. Thread: any that may block; trouble_note and trouble_over: any. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/store/store_private.h"

#define PROBE_PATH "fills/probe.tmp" /* as a stray temporary file it goes at the next start */
#define PROBE_EVERY_MS 1000
#define TOLD_FOR_S 600 /* a failure may concern one folder or file, so others' success proves little */

void trouble_note(struct store *s, const char *doing, int code) {
    struct trouble *t = &s->trouble;
    pthread_mutex_lock(&t->lock);
    t->code = code;
    t->since_s = clock_wall_s();
    snprintf(t->doing, sizeof(t->doing), "%s", doing);
    pthread_mutex_unlock(&t->lock);
}

int trouble_probe(const struct store *s) {
    static const char bytes[4096];
    int r = 0, fd = openat(s->dir_fd, PROBE_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    ssize_t n = pwrite(fd, bytes, sizeof(bytes), 0);
    if (n != (ssize_t)sizeof(bytes)) r = n < 0 ? -errno : -ENOSPC;
    if (r == 0 && fdatasync(fd) < 0) r = -errno;
    close(fd);
    if (unlinkat(s->dir_fd, PROBE_PATH, 0) < 0 && r == 0) r = -errno;
    return r;
}

void trouble_say(const struct store *s, const char *doing, int code, struct error *err) {
    struct statvfs st;
    bool known = fstatvfs(s->dir_fd, &st) == 0;
    if (code == -ENOSPC && known && st.f_files > 0 && st.f_favail == 0) {
        error_set(err, code, "the file system of %s has no inodes left (%llu in all): %s failed", s->dir,
                  (unsigned long long)st.f_files, doing);
        error_hint(err, "remove other files from it, or make it anew with more inodes (mkfs.ext4 -i 16384)");
        return;
    }
    error_set(err, code, "%s in %s failed: %s; what is pulled is passed through, not kept", doing, s->dir,
              error_name(code));
    if (code == -EACCES || code == -EPERM)
        error_hint(err, "make all of it belong to the user it runs as: chown -R %u %s", (unsigned)geteuid(), s->dir);
    else if (code == -EROFS)
        error_hint(err, "look for disk errors in the kernel's log (dmesg), then mount it writable again");
    else if (code == -ENOSPC || code == -EDQUOT || code == ERR_NO_SPACE)
        error_hint(err, "free some space on that disk, or give the store a lower limit");
    else
        error_hint(err, "look for disk errors in the kernel's log (dmesg); the disk may be failing");
}

bool store_trouble(struct store *s, struct error *err) {
    struct trouble *t = &s->trouble, was;
    pthread_mutex_lock(&t->lock);
    int64_t now = clock_mono_ms();
    bool look = t->probed_ms == 0 || now - t->probed_ms >= PROBE_EVERY_MS;
    if (look) {
        t->probed_ms = now;
        t->probe_code = trouble_probe(s); /* under the lock: two would take each other's file away */
    }
    was = *t;
    pthread_mutex_unlock(&t->lock);
    if (was.probe_code < 0) {
        trouble_say(s, "making a file", was.probe_code, err);
        return true;
    }
    int waits = writer_refusal(s->writer);
    if (waits < 0) {
        trouble_say(s, "writing the index", waits, err);
        return true;
    }
    if (was.code == 0 || clock_wall_s() - was.since_s > TOLD_FOR_S) return false;
    trouble_say(s, was.doing, was.code, err);
    return true;
}
