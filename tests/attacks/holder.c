/* In a container that may trace: takes every other process of its pid namespace that comes, and
 * never asks how it ended, so that nobody else is told. Until the file STOP exists: holder STOP
 *
 *   holds PID
 */
#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <unistd.h>

enum { PIDS = 4096 };

int main(int count, char **words) {
    if (count != 2)
        return 2;
    printf("ready\n");
    fflush(stdout);
    while (access(words[1], F_OK)) {
        for (pid_t pid = 2; pid < PIDS; pid++)
            if (pid != getpid() && !ptrace(PTRACE_SEIZE, pid, 0, 0)) {
                printf("holds %d\n", pid);
                fflush(stdout);
            }
        usleep(1000);
    }
    return 0;
}
