package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Goal: nothing that was started outlives the command. */
class TeardownTest {
  private final List<String> closed = new CopyOnWriteArrayList<>();

  @Test
  void closesEverythingOnceLastFirst() {
    var teardown = new Teardown();
    teardown.add("etcd", () -> closed.add("etcd"));
    teardown.add("pod", () -> closed.add("pod"));
    teardown.close();
    teardown.close();
    assertEquals(List.of("pod", "etcd"), closed);
  }

  @Test
  void oneThatFailsOrHangsDoesNotKeepTheOthersOpen() {
    var never = new CountDownLatch(1);
    var teardown = new Teardown(200);
    teardown.add("etcd", () -> closed.add("etcd"));
    teardown.add(
        "hanging",
        () -> {
          if (!never.await(1, TimeUnit.HOURS)) {
            closed.add("woken");
          }
        });
    teardown.add(
        "failing",
        () -> {
          throw new IllegalStateException("no");
        });
    teardown.close();
    never.countDown();
    assertEquals(List.of("etcd"), closed);
  }

  @Test
  void whatDrainsIsGivenItsTimeBeforeTheNextIsClosed() {
    var teardown = new Teardown(50);
    teardown.add("engine", () -> closed.add("engine"));
    teardown.add(
        "pod",
        () -> {
          TimeUnit.MILLISECONDS.sleep(300); // calls in flight
          closed.add("pod");
        },
        30_000);
    teardown.close();
    assertEquals(List.of("pod", "engine"), closed);
  }

  @Test
  void whatIsAddedTooLateIsClosedAtOnce() {
    var teardown = new Teardown();
    teardown.close();
    var error =
        assertThrows(
            IllegalStateException.class, () -> teardown.add("late", () -> closed.add("late")));
    assertEquals("late was started while the mesh was closing", error.getMessage());
    assertEquals(List.of("late"), closed);
  }

  /** Run as a process of its own: opens something and waits to be killed. */
  static final class Waiting {
    public static void main(String[] args) throws InterruptedException {
      var teardown = new Teardown();
      teardown.add("thing", () -> System.out.println("closed"));
      System.out.println("open");
      new CountDownLatch(1).await();
    }
  }

  @Test
  void aTerminatedProcessClosesWhatItOpened() throws Exception {
    var process =
        new ProcessBuilder(
                System.getProperty("java.home") + "/bin/java",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                Waiting.class.getName())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try (var out = process.inputReader()) {
      assertEquals("open", out.readLine());
      process
          .toHandle()
          .destroy(); // SIGTERM (Ctrl-C goes the same way); destroy() itself would close out
      assertEquals("closed", out.readLine());
      assertTrue(process.waitFor(30, TimeUnit.SECONDS));
    } finally {
      process.destroyForcibly();
    }
  }
}
