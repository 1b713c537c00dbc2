/* Log lines, made in a stack buffer and written with one write(2). Thread: any. */
#include "common/core/log.h"
#include "common/core/hide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#define LINE_MAX_BYTES 8192
/* So much of one value is written, then "...": a long target or name leaves room for what follows it. */
#define VALUE_MAX_BYTES 2048

static int log_fd = 2;
static enum log_format log_format = LOG_FORMAT_KV;
static enum log_level log_level = LOG_LEVEL_INFO;
static const char *log_program = "entrepot";
static const char *const level_names[] = {"error", "warn", "info", "debug"};
/* Priorities that journald removes from the start of a line and stores (sd-daemon(3)). */
static const char *const journal_marks[] = {"<3>", "<4>", "<6>", "<7>"};
static bool to_journal;

struct line {
    size_t len;
    bool full;
    char text[LINE_MAX_BYTES];
};

/* systemd gives device and inode of the stream that the journal reads, so that a redirected stream is recognised. */
static bool is_journal(int fd) {
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(fd, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

const char *log_journal_mark(int fd, enum log_level level) {
    return is_journal(fd) ? journal_marks[level] : "";
}

void log_init(int fd, enum log_format format, enum log_level level, const char *program) {
    log_fd = fd;
    log_format = format;
    log_level = level;
    log_program = program;
    to_journal = is_journal(fd);
}

bool log_enabled(enum log_level level) {
    return level <= log_level;
}

static void put(struct line *l, const char *s, size_t n) {
    /* Room is kept for the closing quote, brace and newline. */
    if (l->full || n > sizeof(l->text) - 8 - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void put_s(struct line *l, const char *s) {
    put(l, s, strlen(s));
}

/* Quoted, with JSON's escapes: a log reader never sees a raw control or high byte that is not valid to show. */
static void put_quoted(struct line *l, const char *s) {
    put(l, "\"", 1);
    size_t end = l->len + VALUE_MAX_BYTES;
    for (; *s && !l->full && l->len < end; s++) {
        unsigned char c = (unsigned char)*s;
        char esc[8];
        if (c == '"' || c == '\\') {
            snprintf(esc, sizeof(esc), "\\%c", c);
            put_s(l, esc);
        } else if (c < 0x20 || c >= 0x7f) {
            snprintf(esc, sizeof(esc), "\\u%04x", c);
            put_s(l, esc);
        } else {
            put(l, s, 1);
        }
    }
    if (*s) put_s(l, "...");
    l->text[l->len++] = '"';
}

static bool is_plain(const char *s) {
    if (!*s) return false;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
    }
    return true;
}

/* Writes s without the user parts of URLs in it. */
static void put_text(struct line *l, const char *s) {
    char clean[LINE_MAX_BYTES];
    if (strstr(s, "://")) {
        snprintf(clean, sizeof(clean), "%s", s);
        hide_users(clean);
        s = clean;
    }
    if (log_format != LOG_FORMAT_JSON && is_plain(s) && strlen(s) <= VALUE_MAX_BYTES)
        put_s(l, s);
    else
        put_quoted(l, s);
}

static void put_pair(struct line *l, const struct log_kv *kv) {
    bool json = log_format == LOG_FORMAT_JSON;
    char num[64];
    if (l->len > sizeof(l->text) - 256) l->full = true;
    if (l->full) return;
    if (json) {
        put(l, ",", 1);
        put_quoted(l, kv->key);
        put(l, ":", 1);
    } else {
        put(l, " ", 1);
        put_s(l, kv->key);
        put(l, "=", 1);
    }
    switch (kv->kind) {
    case LOG_KIND_STR:
        put_text(l, kv->str ? kv->str : "");
        break;
    case LOG_KIND_INT:
        snprintf(num, sizeof(num), "%lld", kv->num);
        put_s(l, num);
        break;
    case LOG_KIND_DBL:
        snprintf(num, sizeof(num), "%.6g", kv->dbl);
        put_s(l, num);
        break;
    case LOG_KIND_END:
        break;
    }
}

void log_write(enum log_level level, const char *event, const struct log_kv *kvs) {
    if (!log_enabled(level)) return;
    struct line l;
    l.len = 0;
    l.full = false;
    if (to_journal) put_s(&l, journal_marks[level]);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    struct tm tm;
    gmtime_r(&tv.tv_sec, &tm);
    char when[40];
    size_t n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof(when) - n, ".%03dZ", (int)(tv.tv_usec / 1000));
    if (log_format == LOG_FORMAT_JSON) {
        put_s(&l, "{\"time\":");
        put_quoted(&l, when);
    } else {
        put_s(&l, "time=");
        put_s(&l, when);
    }
    put_pair(&l, &KV_S("level", level_names[level]));
    put_pair(&l, &KV_S("program", log_program));
    put_pair(&l, &KV_S("event", event));
    for (; kvs->kind != LOG_KIND_END; kvs++)
        put_pair(&l, kvs);
    if (log_format == LOG_FORMAT_JSON) l.text[l.len++] = '}';
    l.text[l.len++] = '\n';
    /* A log that cannot be written must not stop the service. */
    ssize_t w;
    do {
        w = write(log_fd, l.text, l.len);
    } while (w < 0 && errno == EINTR);
}
