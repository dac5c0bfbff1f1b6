package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Goal: the launcher finds, builds, refuses and passes on as its first lines say. Method: a copy of
 * it in a small tree, with a JDK and a Maven that are scripts and write down how they were called.
 */
class LauncherTest {
  @TempDir Path dir;
  private Path root;
  private Path jdk;
  private Path bin;

  private record Ran(int status, String out, String err) {}

  @BeforeEach
  void makeTree() throws IOException {
    root = Files.createDirectories(dir.resolve("a tree/orlop"));
    bin = Files.createDirectories(dir.resolve("bin"));
    Path launcher = Path.of("..", "orlop").toAbsolutePath().normalize();
    Files.copy(launcher, root.resolve("orlop"));
    Files.writeString(root.resolve("pom.xml"), "<project/>");
    Files.createDirectories(root.resolve("deploy/src/main/java"));
    Files.writeString(root.resolve("deploy/pom.xml"), "<project/>");
    Files.writeString(root.resolve("deploy/src/main/java/Main.java"), "class Main {}");
    jdk = jdk("good", "25.0.3");
    maven(
        """
        echo "[INFO] Building deploy 0.1.0-SNAPSHOT   [9/9]"
        mkdir -p deploy/target
        echo jar > deploy/target/deploy-0.1.0-SNAPSHOT.jar
        lib=$(dirname "$PWD")/lib.jar
        echo lib > "$lib"
        printf '%s' "$lib" > deploy/target/libraries
        """);
  }

  private Path jdk(String name, String version) throws IOException {
    Path home = Files.createDirectories(dir.resolve("jvm " + name).resolve("jdk"));
    Files.createDirectories(home.resolve("bin"));
    Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
    script(
        home.resolve("bin/java"), "echo \"java $1 -cp $CLASSPATH $*\"\nexit ${JAVA_STATUS:-0}\n");
    script(home.resolve("bin/javac"), "exit 0\n");
    return home;
  }

  /** A Maven that counts its calls and then does what {@code body} says. */
  private void maven(String body) throws IOException {
    script(bin.resolve("mvn"), "echo \"$*\" >> '" + dir.resolve("mvn.calls") + "'\n" + body);
  }

  private static void script(Path file, String body) throws IOException {
    Files.writeString(file, "#!/bin/sh\n" + body);
    assertTrue(file.toFile().setExecutable(true), file.toString());
  }

  private List<String> mavenCalls() throws IOException {
    Path calls = dir.resolve("mvn.calls");
    return Files.exists(calls) ? Files.readAllLines(calls) : List.of();
  }

  private ProcessBuilder launcherOn(String path, String... args) {
    var command = new ArrayList<>(List.of("/bin/sh", root.resolve("orlop").toString()));
    command.addAll(List.of(args));
    var builder = new ProcessBuilder(command);
    builder.environment().keySet().removeIf(name -> name.startsWith("ORLOP_"));
    builder.environment().put("PATH", path);
    builder.environment().put("JAVA_HOME", jdk.toString());
    builder.environment().put("ORLOP_JVM_DIRS", dir.resolve("none").toString());
    builder.environment().put("ORLOP_NO_INSTALL", "1");
    return builder;
  }

  private ProcessBuilder launcher(String... args) {
    return launcherOn(bin + ":/usr/bin:/bin", args);
  }

  private Ran run(ProcessBuilder builder) throws Exception {
    Path out = Files.createTempFile(dir, "out", null);
    Path err = Files.createTempFile(dir, "err", null);
    var process = builder.redirectOutput(out.toFile()).redirectError(err.toFile()).start();
    try {
      assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the launcher did not end");
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
    return new Ran(
        process.exitValue(),
        Files.readString(out, StandardCharsets.UTF_8),
        Files.readString(err, StandardCharsets.UTF_8));
  }

  @Test
  void buildsOnFirstUseThenRunsTheCommandLineWithItsArguments() throws Exception {
    var ran = run(launcher("status", "--name", "two words"));
    assertEquals(0, ran.status(), ran.err());
    assertTrue(ran.out().startsWith("java --enable-native-access=ALL-UNNAMED"), ran.out());
    assertTrue(ran.out().strip().endsWith("orlop.deploy.Main status --name two words"), ran.out());
    assertTrue(ran.out().contains("/deploy-0.1.0-SNAPSHOT.jar:"), ran.out());
    assertTrue(ran.err().contains("[9/9] deploy"), ran.err());
    assertEquals(1, ran.out().lines().count(), "progress must not go to stdout: " + ran.out());
    assertEquals(1, mavenCalls().size());
    assertTrue(mavenCalls().getFirst().contains("-Dlint=off -DskipTests"), mavenCalls().toString());
  }

  @Test
  void startsWithinASecondWhenNothingChanged() throws Exception {
    run(launcher());
    long bestMs = Long.MAX_VALUE; // the best of five: the machine may be busy
    for (int i = 0; i < 5; i++) {
      long beganNs = System.nanoTime();
      var ran = run(launcher());
      assertEquals("", ran.err());
      bestMs = Math.min(bestMs, (System.nanoTime() - beganNs) / 1_000_000);
    }
    assertTrue(bestMs < 1000, "the check took " + bestMs + " ms");
    assertEquals(1, mavenCalls().size());
  }

  @Test
  void buildsAgainWhenASourceIsNewerOrALibraryIsGone() throws Exception {
    run(launcher());
    Files.setLastModifiedTime(
        root.resolve("deploy/src/main/java/Main.java"),
        FileTime.from(Instant.now().plusSeconds(5)));
    var changed = run(launcher());
    assertTrue(changed.err().contains("sources changed"), changed.err());
    assertEquals(2, mavenCalls().size());
    Files.setLastModifiedTime(
        root.resolve("deploy/src/main/java/Main.java"), FileTime.from(Instant.EPOCH));
    Files.delete(root.resolveSibling("lib.jar"));
    run(launcher());
    assertEquals(3, mavenCalls().size());
  }

  @Test
  void aRebuildLeavesTheJarsOfARunningMeshAlone() throws Exception {
    String classpath = run(launcher()).out();
    int at = classpath.indexOf("-cp ") + 4;
    Path jar = Path.of(classpath.substring(at, classpath.indexOf(".jar:", at) + 4));
    Files.setLastModifiedTime(root.resolve("pom.xml"), FileTime.from(Instant.now().plusSeconds(5)));
    run(launcher());
    assertEquals(2, mavenCalls().size());
    assertTrue(Files.exists(jar), jar.toString());
  }

  @Test
  void withoutAFittingJdkItSaysOnceWhatToDo() throws Exception {
    var builder = launcher();
    builder.environment().put("JAVA_HOME", jdk("old", "17.0.15").toString());
    builder.environment().put("PATH", bin + ":" + toolsWithoutJava());
    var ran = run(builder);
    assertEquals(1, ran.status());
    assertEquals(1, ran.err().lines().count(), ran.err());
    assertTrue(ran.err().contains("no JDK 25"), ran.err());
    assertTrue(ran.err().contains("is version 17"), ran.err());
    assertTrue(ran.err().contains("https://adoptium.net"), ran.err());
    assertEquals(List.of(), mavenCalls());
  }

  @Test
  void aJavaHomeThatDoesNotFitIsPassedOverForOneThatDoes() throws Exception {
    Path newer = jdk("newer", "26-ea");
    for (String home : new String[] {"/nonexistent", jdk("old", "17.0.15").toString()}) {
      var builder = launcher();
      builder.environment().put("JAVA_HOME", home);
      builder
          .environment()
          .put("ORLOP_JVM_DIRS", dir.resolve("jvm old") + ":" + newer.resolveSibling(""));
      var ran = run(builder);
      assertEquals(0, ran.status(), ran.err());
    }
  }

  @Test
  void withoutMavenItSaysWhatToInstall() throws Exception {
    Files.delete(bin.resolve("mvn"));
    var ran = run(launcherOn(bin + ":" + toolsWithoutJava()));
    assertEquals(1, ran.status());
    assertTrue(ran.err().contains("mvn not found"), ran.err());
    assertEquals(1, ran.err().lines().count(), ran.err());
  }

  @Test
  void aBrokenBuildShowsItsErrorsAndRunsNothing() throws Exception {
    maven(
        """
        echo "[INFO] noise"
        echo "[ERROR] Main.java:[3,1] ';' expected"
        exit 1
        """);
    var ran = run(launcher());
    assertEquals(1, ran.status());
    assertEquals("", ran.out());
    assertTrue(ran.err().contains("Main.java:[3,1] ';' expected"), ran.err());
    assertFalse(ran.err().contains("noise"), ran.err());
    assertTrue(ran.err().contains("build.log"), ran.err());
  }

  @Test
  void firstStartsAtTheSameTimeBuildOnce() throws Exception {
    startTogether(bin + ":/usr/bin:/bin");
  }

  @Test
  void firstStartsAtTheSameTimeBuildOnceWithoutFlockToo() throws Exception {
    String path = bin + ":" + toolsWithoutJava();
    Files.deleteIfExists(dir.resolve("tools/flock"));
    startTogether(path);
    assertFalse(Files.exists(root.resolve(".orlop/lock.d")));
  }

  private void startTogether(String path) throws Exception {
    Path gate = dir.resolve("gate");
    maven(
        """
        while [ ! -e '%s' ]; do sleep 0.05; done
        mkdir -p deploy/target
        echo jar > deploy/target/deploy-0.1.0-SNAPSHOT.jar
        printf '%%s' "$PWD/pom.xml" > deploy/target/libraries
        """
            .formatted(gate));
    var started = new ArrayList<Process>();
    try {
      for (int i = 0; i < 4; i++) {
        started.add(
            launcherOn(path, "n" + i)
                .redirectOutput(dir.resolve("out" + i).toFile())
                .redirectError(dir.resolve("err" + i).toFile())
                .start());
      }
      Files.createFile(gate);
      for (int i = 0; i < 4; i++) {
        assertTrue(started.get(i).waitFor(60, TimeUnit.SECONDS));
        assertEquals(0, started.get(i).exitValue(), Files.readString(dir.resolve("err" + i)));
        assertTrue(Files.readString(dir.resolve("out" + i)).strip().endsWith("n" + i));
      }
    } finally {
      started.forEach(Process::destroyForcibly);
    }
    assertEquals(1, mavenCalls().size());
  }

  @Test
  void exitsWithTheStatusOfTheCommandLine() throws Exception {
    var builder = launcher("fail");
    builder.environment().put("JAVA_STATUS", "7");
    assertEquals(7, run(builder).status());
  }

  @Test
  void testRunsMavenVerifyShowsItsSummaryAndKeepsItsStatus() throws Exception {
    maven(
        """
        echo "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 0"
        """);
    var passed = run(launcher("test", "--quick", "-pl", "placement"));
    assertEquals(0, passed.status(), passed.err());
    assertTrue(
        passed.out().contains("Tests run: 3, Failures: 0, Errors: 0, Skipped: 0"), passed.out());
    assertTrue(
        mavenCalls().getFirst().endsWith("verify -Pquick -pl placement"), mavenCalls().toString());
    maven(
        """
        echo "[ERROR] Tests run: 3, Failures: 1, Errors: 0, Skipped: 0"
        exit 3
        """);
    var failed = run(launcher("test"));
    assertEquals(3, failed.status());
    assertTrue(failed.out().contains("Failures: 1"), failed.out());
    assertFalse(mavenCalls().getLast().contains("-Pquick"), mavenCalls().toString());
  }

  @Test
  void insideABuildItRefusesToBuildButRunsGivenClasses() throws Exception {
    var refused = launcher();
    refused.environment().put("ORLOP_LOCKED", "1");
    var said = run(refused);
    assertEquals(1, said.status());
    assertTrue(said.err().contains("ORLOP_CLASSPATH"), said.err());
    var given = launcher("x");
    given.environment().put("ORLOP_LOCKED", "1");
    given.environment().put("ORLOP_CLASSPATH", "/some/classes");
    var ran = run(given);
    assertEquals(0, ran.status(), ran.err());
    assertTrue(ran.out().contains("-cp /some/classes "), ran.out());
    assertEquals(List.of(), mavenCalls());
  }

  /** A launcher on a machine without etcd, whose apt-get does what {@code body} says. */
  private ProcessBuilder launcherWithApt(String body, String... args) throws IOException {
    script(bin.resolve("id"), "echo 0\n");
    script(bin.resolve("apt-get"), "echo \"$*\" >> '" + dir.resolve("apt.calls") + "'\n" + body);
    var builder = launcherOn(bin + ":" + toolsWithoutJava(), args);
    builder.environment().remove("ORLOP_NO_INSTALL");
    return builder;
  }

  @Test
  void theDemoInstallsEtcdWhenItCanAfterRefreshingTheListsIfNeeded() throws Exception {
    String body =
        """
        case "$*" in
          *update*) touch '%1$s/updated' ;;
          *install*) [ -e '%1$s/updated' ] || exit 100
            printf '#!/bin/sh\n' > '%1$s/etcd'; chmod +x '%1$s/etcd' ;;
        esac
        """
            .formatted(bin);
    var ran = run(launcherWithApt(body, "demo"));
    assertEquals(0, ran.status(), ran.err());
    assertTrue(ran.out().strip().endsWith("orlop.deploy.Main demo"), ran.out());
    assertEquals(3, Files.readAllLines(dir.resolve("apt.calls")).size());
    assertEquals("", run(launcherWithApt(body, "demo")).err());
    assertEquals(3, Files.readAllLines(dir.resolve("apt.calls")).size(), "etcd is there now");
  }

  @Test
  void theDemoGoesOnWithoutEtcdAndSaysHowToGetIt() throws Exception {
    var broken = run(launcherWithApt("echo 'E: Unable to locate package' >&2\nexit 100\n", "demo"));
    assertEquals(0, broken.status(), broken.err());
    assertTrue(broken.err().contains("(E: Unable to locate package); install etcd"), broken.err());
    var refused = launcherWithApt("exit 1\n", "demo");
    refused.environment().put("ORLOP_NO_INSTALL", "1");
    var said = run(refused);
    assertEquals(0, said.status(), said.err());
    assertTrue(said.err().contains("apt-get install etcd-server"), said.err());
  }

  @Test
  void otherCommandsLeaveEtcdAlone() throws Exception {
    var ran = run(launcherWithApt("exit 1\n", "dev"));
    assertEquals(0, ran.status(), ran.err());
    assertFalse(Files.exists(dir.resolve("apt.calls")));
    run(launcherWithApt("exit 1\n", "dev", "--etcd"));
    assertTrue(Files.exists(dir.resolve("apt.calls")));
  }

  /** The directory of the build that a run of the scripted JDK was given. */
  private Path build() throws IOException {
    return Path.of(Files.readString(root.resolve(".orlop/app")).strip());
  }

  @Test
  void startsFromWhatATrialRunOfThisBuildLeftAndFromNoOther() throws Exception {
    assertFalse(run(launcher("status")).out().contains("AOTCache"));
    Files.writeString(build().resolve("pod.aot"), "learned");
    var warm = run(launcher("status"));
    assertTrue(warm.out().contains("-XX:AOTCache=" + build().resolve("pod.aot")), warm.out());
    assertTrue(warm.out().strip().endsWith("orlop.deploy.Main status"), warm.out());
    var cold = launcher("status");
    cold.environment().put("ORLOP_NO_WARM", "1");
    assertFalse(run(cold).out().contains("AOTCache"));
    Files.setLastModifiedTime(root.resolve("pom.xml"), FileTime.from(Instant.now().plusSeconds(5)));
    assertFalse(run(launcher("status")).out().contains("AOTCache"), "that is of the last build");
  }

  @Test
  void warmMakesATrialRunOnceForEachBuild() throws Exception {
    var first = run(launcher("warm"));
    assertTrue(first.out().strip().endsWith("Main warm --into " + build()), first.out());
    Files.writeString(build().resolve("pod.aot"), "learned");
    var second = run(launcher("warm"));
    assertEquals(0, second.status(), second.err());
    assertEquals("", second.out());
    assertTrue(second.err().contains("is warm"), second.err());
  }

  @Test
  void aPodLetsItsBuildLearnInTheBackgroundOnce() throws Exception {
    script(bin.resolve("sleep"), "exit 0\n");
    run(launcher("status"));
    assertFalse(Files.exists(build().resolve("warm.log")), "status is no pod");
    for (int i = 0; i < 2; i++) {
      assertTrue(run(launcher("pod")).out().strip().endsWith("Main pod"));
    }
    Path log = build().resolve("warm.log");
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!Files.exists(log) || !Files.readString(log).contains("Main warm --into")) {
      assertTrue(System.nanoTime() < deadlineNs, "no trial run in " + log);
      Thread.onSpinWait();
    }
    assertEquals(1, Files.readString(log).lines().count(), Files.readString(log));
  }

  @Test
  void aBuildThatIsTakenAsItIsIsNotMadeAgain() throws Exception {
    run(launcher("status"));
    Files.setLastModifiedTime(root.resolve("pom.xml"), FileTime.from(Instant.now().plusSeconds(5)));
    var as = launcher("status");
    as.environment().put("ORLOP_BUILT", "1");
    assertEquals(0, run(as).status());
    assertEquals(1, mavenCalls().size());
  }

  /** A PATH with the tools that the launcher uses, but neither java nor mvn nor apt-get. */
  private String toolsWithoutJava() throws IOException {
    Path tools = Files.createDirectories(dir.resolve("tools"));
    for (String tool :
        List.of(
            "awk cat chmod cp cut date env dirname find flock grep head mkdir mv readlink rm rmdir sed sh sleep touch"
                .split(" "))) {
      for (String place : List.of("/usr/bin/", "/bin/")) {
        Path real = Path.of(place + tool);
        Path link = tools.resolve(tool);
        if (Files.exists(real) && !Files.exists(link)) {
          Files.createSymbolicLink(link, real);
        }
      }
    }
    return tools.toString();
  }
}
