/* Reads /proc/self for the process_* metrics (proc(5)). Thread: whichever makes a page. */
#include "common/metrics/metrics_process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static void collect_memory(struct metric_page *p) {
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return;
    long long total, resident;
    if (fscanf(f, "%lld %lld", &total, &resident) == 2) {
        double page = (double)sysconf(_SC_PAGESIZE);
        metric_set(p, METRIC_PROCESS_VIRTUAL, (double)total * page);
        metric_set(p, METRIC_PROCESS_RSS, (double)resident * page);
    }
    fclose(f);
}

/* When the machine started, in seconds since the epoch. */
static long long boot_time(void) {
    FILE *f = fopen("/proc/stat", "re");
    if (!f) return -1;
    char line[256];
    long long btime = -1;
    while (btime < 0 && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "btime %lld", &btime) != 1) btime = -1;
    }
    fclose(f);
    return btime;
}

static void collect_start(struct metric_page *p) {
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f) return;
    char text[1024];
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    /* The process name in brackets may contain anything, so fields are counted from its end: starttime is the
     * twentieth. */
    const char *s = strrchr(text, ')');
    for (int i = 0; s && i < 20; i++) {
        s = strchr(s + 1, ' ');
    }
    long long ticks = s ? strtoll(s, NULL, 10) : 0, boot = boot_time();
    if (s && boot >= 0) {
        metric_set(p, METRIC_PROCESS_START, (double)boot + (double)ticks / (double)sysconf(_SC_CLK_TCK));
    }
}

static void collect_fds(struct metric_page *p) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) metric_set(p, METRIC_PROCESS_MAX_FDS, (double)limit.rlim_cur);
    DIR *d = opendir("/proc/self/fd");
    if (!d) return;
    int64_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    metric_set(p, METRIC_PROCESS_FDS, (double)(n - 3)); /* ".", "..", and the folder itself */
}

void metrics_process_collect(struct metric_page *p) {
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        metric_set(p, METRIC_PROCESS_CPU,
                   (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    }
    collect_memory(p);
    collect_start(p);
    collect_fds(p);
}
