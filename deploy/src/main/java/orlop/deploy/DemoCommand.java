package orlop.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import orlop.registry.RegistryException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code orlop demo}: the whole system on real data, told and checked step by step. */
@Command(
    name = "demo",
    mixinStandardHelpOptions = true,
    description = {
      "Watch the whole system work on real data, step by step.",
      "Over 200 models trained on public datasets, a mesh whose memory holds half of them, Kafka",
      "around it, a pod that dies and a feature that drifts.",
      "Everything listens on 127.0.0.1 and keeps its files under .orlop/demo."
    })
final class DemoCommand implements Callable<Integer> {
  private static final String RUN = "run-";

  @Option(
      names = "--once",
      description = "End after the story: status 0 when every check held, else 1.")
  boolean once;

  @Option(names = "--json", description = "Print the figures as the last line, one JSON object.")
  boolean json;

  @Option(
      names = "--calls",
      paramLabel = "N",
      defaultValue = "12000",
      description = "Calls of the second step, 1 to 10000000. Default: ${DEFAULT-VALUE}.")
  int calls = 12_000;

  @Option(
      names = "--dir",
      paramLabel = "DIR",
      defaultValue = ".orlop/demo",
      description = "For models and logs. Default: ${DEFAULT-VALUE}.")
  Path dir = Path.of(".orlop/demo");

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  @Override
  public Integer call() throws IOException, RegistryException, InterruptedException {
    if (calls < 1 || calls > 10_000_000) {
      throw new CommandException("--calls is " + calls, "give a number from 1 to 10000000");
    }
    PrintWriter out = spec.commandLine().getOut();
    DemoReport report = new DemoReport(out, System.nanoTime());
    Files.createDirectories(dir);
    Map<String, DemoData.Dataset> data = new LinkedHashMap<>();
    DemoData.load().forEach(set -> data.put(set.name(), set));
    List<DemoModel> models = DemoModels.prepare(dir, line -> report.say("%s", line));
    boolean withEtcd = DemoMesh.etcdProgram().isPresent();
    if (!withEtcd) {
      report.say("no etcd program found: pods share this process and its registry");
    }
    try (Teardown teardown = new Teardown()) {
      deleteLeftovers();
      Path run =
          Files.createTempDirectory(
              dir.toAbsolutePath(), RUN + ProcessHandle.current().pid() + "-");
      teardown.add("files", () -> delete(run));
      DemoMesh mesh = new Demo(report, teardown, run, data, models, calls).run(withEtcd);
      report.step(6, "Summary");
      report.summary();
      if (json) {
        report.json();
      }
      if (!once) {
        invite(report, mesh, models.getFirst().id());
        new CountDownLatch(1).await();
      }
      return report.allHeld() ? 0 : 1;
    }
  }

  private static void invite(DemoReport report, DemoMesh mesh, String modelId) {
    String pod = mesh.addresses().getFirst();
    report.say("");
    report.say("The mesh goes on running; Ctrl-C ends it. In another terminal try:");
    report.say("  ./orlop status %s --mesh %s", modelId, pod);
    report.say("  ./orlop alias favourite %s --mesh %s", modelId, pod);
    report.say(
        "  curl http://%s/v2/models/%s", mesh.pods().values().iterator().next().rest(), modelId);
    mesh.inventory().forEach(line -> report.say("  %s", line));
  }

  /** Removes what demos left that were killed before they could. */
  private void deleteLeftovers() throws IOException {
    try (DirectoryStream<Path> runs = Files.newDirectoryStream(dir, RUN + "*")) {
      for (Path run : runs) {
        String pid = String.valueOf(run.getFileName()).split("-", 3)[1];
        if (pid.matches("\\d+") && ProcessHandle.of(Long.parseLong(pid)).isEmpty()) {
          delete(run);
        }
      }
    }
  }

  private static void delete(Path root) throws IOException {
    try (Stream<Path> all = Files.walk(root)) {
      for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    }
  }
}
