package orlop.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The commands that run one server of a mesh until they are told to stop. */
final class RoleCommands {
  private static final System.Logger LOG = System.getLogger(RoleCommands.class.getName());

  private RoleCommands() {}

  /** Configuration from a file and the command line; runs until SIGINT or SIGTERM. */
  abstract static class RoleCommand implements Callable<Integer> {
    @Option(
        names = "--config",
        paramLabel = "FILE",
        description = "YAML; docs/configuration.md lists the keys.")
    @Nullable Path file;

    @Option(
        names = "--set",
        paramLabel = "KEY=VALUE",
        description = "Overrides one key, for example --set pod.grpcPort=8033. Repeatable.")
    List<String> overrides = new ArrayList<>();

    @Spec
    @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
    CommandSpec spec;

    abstract void start(Settings settings, Teardown teardown, PrintWriter out)
        throws IOException, RegistryException;

    /** What the file and the overrides are laid over. */
    Settings base() {
      return Settings.defaults();
    }

    @Override
    public final Integer call() throws IOException, RegistryException, InterruptedException {
      try (Teardown teardown = new Teardown()) {
        PrintWriter out = spec.commandLine().getOut();
        start(Settings.read(base(), file, overrides), teardown, out);
        out.flush();
        // The shutdown hook of the teardown ends what runs; nothing else ends this wait.
        new CountDownLatch(1).await();
        return 0;
      }
    }
  }

  @Command(
      name = "pod",
      mixinStandardHelpOptions = true,
      description = "Run one serving pod.",
      footerHeading = "%nExample:%n",
      footer =
          "  ./orlop pod --set registry.kind=etcd --set registry.endpoints=[http://127.0.0.1:2379]")
  static final class PodCommand extends RoleCommand {
    @Option(
        names = "--announce",
        description =
            "Print one line of JSON with the addresses when ready, and stop when standard input"
                + " ends.")
    boolean announce;

    @Option(
        names = "--modelmesh-env",
        description = {
          "Read ModelMesh's environment variables (docs/migrate-from-modelmesh.md) under --config"
              + " and --set,",
          "and take part in planning, as each pod of ModelMesh does."
        })
    boolean modelMeshEnv;

    @Override
    Settings base() {
      if (!modelMeshEnv) {
        return super.base();
      }
      ModelMeshEnvironment.Reading reading =
          ModelMeshEnvironment.read(System.getenv(), Settings.defaults());
      reading.warnings().forEach(line -> LOG.log(Level.WARNING, line));
      return reading.settings();
    }

    @Override
    void start(Settings settings, Teardown teardown, PrintWriter out)
        throws IOException, RegistryException {
      Registry registry = teardown.add("registry", Roles.registry(settings));
      BooleanSupplier leads =
          modelMeshEnv ? Roles.controller(settings, registry, teardown)::leading : () -> false;
      PodProcess.Announcement pod = Roles.pod(settings, registry, teardown, leads);
      if (announce) {
        out.println(pod.json());
        endWithStandardInput();
      } else {
        out.println(
            "pod %s serves gRPC at %s, REST at http://%s"
                .formatted(pod.id(), pod.grpc(), pod.rest()));
      }
    }

    private static void endWithStandardInput() {
      Thread.ofPlatform()
          .daemon()
          .name("orlop-parent")
          .start(
              () -> {
                try {
                  while (System.in.read() >= 0) {
                    // Whatever is said is not for us; only the end counts.
                  }
                } catch (IOException e) {
                  // A broken pipe is an end too.
                }
                System.exit(0);
              });
    }
  }

  @Command(
      name = "controller",
      mixinStandardHelpOptions = true,
      description = "Run a controller: one of those running plans the mesh.")
  static final class ControllerCommand extends RoleCommand {
    @Override
    void start(Settings settings, Teardown teardown, PrintWriter out) throws RegistryException {
      Registry registry = teardown.add("registry", Roles.registry(settings));
      Roles.controller(settings, registry, teardown);
      out.println("controller takes part in the election");
    }
  }

  @Command(
      name = "bridge",
      mixinStandardHelpOptions = true,
      description = "Score Kafka topics through the mesh, exactly once.")
  static final class BridgeCommand extends RoleCommand {
    @Override
    void start(Settings settings, Teardown teardown, PrintWriter out) {
      Roles.bridge(settings, teardown)
          .forEach(bridge -> out.println("stream: " + bridge.status().state()));
    }
  }

  @Command(
      name = "drift",
      mixinStandardHelpOptions = true,
      description = "Watch the payload topic and report features that change.")
  static final class DriftCommand extends RoleCommand {
    @Override
    void start(Settings settings, Teardown teardown, PrintWriter out) {
      Roles.drift(settings, teardown);
      out.println("drift detection reads " + settings.text("drift.payloadTopic"));
    }
  }
}
