/* In a container that may trace: takes each process that is born, as early as it can, and says
 * what it would get by it. Until the file STOP exists: tracer NAME STOP
 *
 *   ready
 *   caught PRM=… BND=… UID=… FILTER=… CGROUP=… WRITE=0|1 OPEN=LINK,LINK,…
 *   seen N                      all that it took, whatever they were
 *
 * "caught" is told of processes that are still called NAME: not yet what they are to become.
 * WRITE: whether their memory could be changed (it is put back).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AHEAD = 6, TURNS = 2000, PIDS = 4194304 };

static int text_of(pid_t pid, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, size - 1, file);
    text[length] = 0;
    fclose(file);
    return 1;
}

static const char *field(const char *status, const char *name, char *value) {
    const char *found = strstr(status, name);
    value[0] = '?', value[1] = 0;
    if (found)
        sscanf(found + strlen(name), "%63s", value);
    return value;
}

static void open_ones(pid_t pid) {
    char path[64], place[512], link[256];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(place, sizeof place, "%s/%s", path, entry->d_name);
        ssize_t length = readlink(place, link, sizeof link - 1);
        if (length < 0)
            continue;
        link[length] = 0;
        for (char *c = link; *c; c++)
            if (*c == ' ')
                *c = '_';
        printf("%s,", link);
    }
    if (folder)
        closedir(folder);
}

static int can_write(pid_t pid) {
#ifdef __x86_64__
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, 0, &registers))
        return 0;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, pid, registers.rip, 0);
    return !errno && !ptrace(PTRACE_POKETEXT, pid, registers.rip, word);
#else
    return 1;
#endif
}

static void tell(pid_t pid, const char *name) {
    char text[4096], status[4096], cgroup[4096], value[64];
    if (!text_of(pid, "comm", text, sizeof text) || strncmp(text, name, strlen(name)))
        return;
    if (!text_of(pid, "status", status, sizeof status))
        return;
    printf("caught PRM=%s", field(status, "CapPrm:", value));
    printf(" BND=%s", field(status, "CapBnd:", value));
    printf(" UID=%s", field(status, "Uid:", value));
    printf(" FILTER=%s", field(status, "Seccomp:", value));
    int inside = text_of(pid, "cgroup", cgroup, sizeof cgroup) && !strstr(cgroup, ":/..");
    printf(" CGROUP=%s WRITE=%d OPEN=", inside ? "own" : "other", can_write(pid));
    open_ones(pid);
    printf("\n");
    fflush(stdout);
}

static int take(pid_t pid, const char *name) {
    int status;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0))
        return 0;
    if (!ptrace(PTRACE_INTERRUPT, pid, 0, 0) && waitpid(pid, &status, __WALL) == pid &&
        WIFSTOPPED(status)) {
        tell(pid, name);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    return 1;
}

int main(int count, char **words) {
    if (count != 3)
        return 2;
    pid_t last = getpid();
    long seen = 0;
    printf("ready\n");
    fflush(stdout);
    while (access(words[2], F_OK)) {
        for (int turn = 0; turn < TURNS; turn++) {
            for (int ahead = 1; ahead <= AHEAD; ahead++) {
                pid_t pid = (last + ahead) % PIDS;
                if (take(pid, words[1])) {
                    last = pid, seen++;
                    break;
                }
            }
        }
        /* Some were born and gone meanwhile. */
        char text[128];
        FILE *file = fopen("/proc/loadavg", "r");
        if (file && fgets(text, sizeof text, file) && strrchr(text, ' ')) {
            pid_t now = atoi(strrchr(text, ' '));
            if (now > last)
                last = now;
        }
        if (file)
            fclose(file);
    }
    printf("seen %ld\n", seen);
    return 0;
}
