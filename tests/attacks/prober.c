/* What a hostile program inside a container tries. Static; the first argument says which:
 *
 *   calls native|i386 FROM TO   "NUMBER ERRNO" for each system call, all arguments -1
 *   terminal                    errno of what would type into the terminal at fd 0
 *   keyring                     serial of the session keyring, or -errno
 *   keep                        puts a key into the session keyring and becomes the arguments
 *   devices                     of "b|c MAJOR MINOR" lines on stdin, those that can be opened
 *   writable PATH...            regular files below that take writes
 *   connect PATH...             sockets that can be connected to ("@…" is an abstract name)
 *   fds                         the open descriptors
 *   euid                        the effective user id
 *   namespaces                  inode of each of /proc/self/ns
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SESSION_KEYRING -3L

static int by_number(int i386, long number) {
    if (!i386) {
        errno = 0;
        return syscall(number, -1L, -1L, -1L, -1L, -1L, -1L) == -1 ? errno : 0;
    }
#ifdef __x86_64__
    long result = number;
    __asm__ volatile("int $0x80" : "+a"(result)
                     : "b"(-1L), "c"(-1L), "d"(-1L), "S"(-1L), "D"(-1L)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result < 0 ? -(int)result : 0;
#else
    return ENOSYS;
#endif
}

/* One child per call: most of them would not return, or change the process. */
static void calls(int i386, long from, long to) {
    struct itimerval soon = {{0, 0}, {0, 300000}};
    for (long number = from; number < to; number++) {
        pid_t child = fork();
        int status = 0;
        if (child == 0) {
            setitimer(ITIMER_REAL, &soon, 0);
            syscall(SYS_exit_group, by_number(i386, number));
        }
        waitpid(child, &status, 0);
        printf("%ld %d\n", number, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
}

static int failure(int result) { return result < 0 ? errno : 0; }

static void terminal(void) {
    char letter = 'x';
    printf("%d", failure(ioctl(0, TIOCSTI, &letter)));
    printf(" %d", failure(syscall(SYS_ioctl, 0, 1L << 32 | TIOCSTI, &letter)));
    letter = 3; /* paste the selection */
    printf(" %d\n", failure(ioctl(0, TIOCLINUX, &letter)));
}

static void devices(void) {
    char kind, path[] = "node";
    unsigned major, minor;
    int modes[] = {O_RDONLY, O_WRONLY};
    while (scanf(" %c %u %u", &kind, &major, &minor) == 3) {
        unlink(path);
        if (mknod(path, (kind == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(major, minor))) {
            printf("%c %u:%u mknod %d\n", kind, major, minor, errno);
            continue;
        }
        for (int at = 0; at < 2; at++) {
            int fd = open(path, modes[at] | O_NONBLOCK | O_NOCTTY);
            if (fd >= 0 || errno != EPERM)
                printf("%c %u:%u %d\n", kind, major, minor, fd < 0 ? errno : 0);
            if (fd >= 0)
                close(fd);
        }
    }
    unlink(path);
}

static int visit(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)place;
    /* Processes' own files are theirs. */
    if (kind == FTW_D && !strncmp(path, "/proc/", 6) &&
        (strspn(path + 6, "0123456789") || !strncmp(path + 6, "self", 4) ||
         !strncmp(path + 6, "thread-self", 11)))
        return FTW_SKIP_SUBTREE;
    if (kind == FTW_F && S_ISREG(status->st_mode)) {
        int fd = open(path, O_WRONLY | O_NONBLOCK);
        /* Writing nothing changes nothing; EIO says that there is nothing to write to. */
        if (fd >= 0 && (write(fd, "", 0) == 0 || errno != EIO))
            puts(path);
        if (fd >= 0)
            close(fd);
    }
    return FTW_CONTINUE;
}

static void connect_to(const char *name) {
    int kinds[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    if (name[0] == '@')
        address.sun_path[0] = 0;
    for (int at = 0; at < 3; at++) {
        int fd = socket(AF_UNIX, kinds[at], 0);
        socklen_t size = offsetof(struct sockaddr_un, sun_path) + length + (name[0] != '@');
        if (!connect(fd, (struct sockaddr *)&address, size))
            puts(name);
        close(fd);
    }
}

static void namespaces(void) {
    struct dirent *entry;
    struct stat status;
    char path[300];
    DIR *folder = opendir("/proc/self/ns");
    while ((entry = readdir(folder))) {
        snprintf(path, sizeof path, "/proc/self/ns/%s", entry->d_name);
        if (entry->d_name[0] != '.' && !strstr(entry->d_name, "_for_") && !stat(path, &status))
            printf("%s %lu\n", entry->d_name, (unsigned long)status.st_ino);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, 0, _IOLBF, 0);
    if (!strcmp(what, "calls") && argc == 5) {
        calls(!strcmp(argv[2], "i386"), strtol(argv[3], 0, 0), strtol(argv[4], 0, 0));
    } else if (!strcmp(what, "terminal")) {
        terminal();
    } else if (!strcmp(what, "keyring")) {
        long serial = syscall(SYS_keyctl, 0, SESSION_KEYRING, 0);
        printf("%ld\n", serial < 0 ? -(long)errno : serial);
    } else if (!strcmp(what, "keep") && argc > 2) {
        if (syscall(SYS_keyctl, 1, 0) < 0 ||
            syscall(SYS_add_key, "user", "of-the-host", "secret", 6, SESSION_KEYRING) < 0)
            perror("a key");
        execv(argv[2], argv + 2);
        return 1;
    } else if (!strcmp(what, "devices")) {
        devices();
    } else if (!strcmp(what, "writable")) {
        for (int at = 2; at < argc; at++)
            nftw(argv[at], visit, 20, FTW_PHYS | FTW_ACTIONRETVAL);
    } else if (!strcmp(what, "connect")) {
        for (int at = 2; at < argc; at++)
            connect_to(argv[at]);
    } else if (!strcmp(what, "fds")) {
        for (int fd = 0; fd < 4096; fd++)
            if (fcntl(fd, F_GETFD) >= 0)
                printf("%d ", fd);
        puts("");
    } else if (!strcmp(what, "euid")) {
        printf("%d\n", geteuid());
    } else if (!strcmp(what, "namespaces")) {
        namespaces();
    } else {
        return 2;
    }
    return 0;
}
