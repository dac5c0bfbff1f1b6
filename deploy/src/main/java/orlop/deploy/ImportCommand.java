package orlop.deploy;

import io.grpc.StatusRuntimeException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;
import orlop.registry.ModelMeshKeyspace;
import orlop.registry.RegistryConfig;
import orlop.registry.RegistryException;
import orlop.registry.RegistryTls;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code orlop import}: what another mesh knows, registered in this one. */
@Command(
    name = "import",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Register here what a ModelMesh has in its etcd: models and vmodels.",
      "The source is only read. What stands here already is left as it is, so it may be run again.",
      "Exit status 1 when something could not be taken over."
    },
    footerHeading = "%nExample:%n",
    footer = {
      "  ./orlop import --from-modelmesh --etcd http://etcd:2379 \\",
      "      --prefix modelmesh-serving/mm/modelmesh-serving --to 127.0.0.1:8033 --dry-run"
    })
final class ImportCommand implements Callable<Integer> {
  private static final int PAGE_KEYS = 1_000;

  @Option(
      names = "--from-modelmesh",
      required = true,
      description = "The source is a key space of ModelMesh.")
  boolean fromModelMesh;

  @Option(
      names = "--etcd",
      required = true,
      split = ",",
      paramLabel = "URL",
      description = "The source's etcd, http(s)://host:port; several separated by commas.")
  List<String> etcd = new ArrayList<>();

  @Option(
      names = "--prefix",
      required = true,
      paramLabel = "PREFIX",
      description = {
        "What stands before /registry/ in its keys: etcd root prefix, MM_KVSTORE_PREFIX and service name.",
        "A prefix that holds none is answered with those found below it."
      })
  String prefix = "";

  @Option(names = "--user", paramLabel = "NAME", description = "User of the source's etcd.")
  @Nullable String user;

  @Option(
      names = "--password",
      paramLabel = "PASSWORD",
      arity = "0..1",
      interactive = true,
      description = "Of that user; asked for when no value follows.")
  char @Nullable [] password;

  @Option(
      names = "--etcd-trust",
      paramLabel = "FILE",
      description = "The authorities that sign its certificates. Default: those known to Java.")
  String trust = "";

  @Option(
      names = "--etcd-certificate",
      paramLabel = "FILE",
      description = "What it is shown, where it asks for a certificate.")
  String certificate = "";

  @Option(
      names = "--etcd-key",
      paramLabel = "FILE",
      description = "The key of that certificate, PKCS #8.")
  String key = "";

  @Option(
      names = "--to",
      paramLabel = "HOST:PORT",
      description =
          "A pod of this mesh. Default: 127.0.0.1:8033; a dry run without it only reads the source.")
  @Nullable String to;

  @Mixin TlsOptions tls = new TlsOptions();

  @Option(names = "--dry-run", description = "Change nothing, say what would be done.")
  boolean dryRun;

  @Option(names = "--json", description = "Print the report as one line of JSON.")
  boolean json;

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      defaultValue = "30",
      description = "For one answer of etcd or a pod, 1 to 600. Default: ${DEFAULT-VALUE}.")
  int timeoutSeconds = 30;

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  @Override
  public Integer call() throws RegistryException {
    PrintWriter out = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    long startNs = System.nanoTime();
    try (ModelMeshKeyspace source = ModelMeshKeyspace.open(config(), prefix)) {
      long count = 0;
      for (ModelMeshKeyspace.Table table : ModelMeshKeyspace.Table.values()) {
        count += source.count(table);
      }
      long all = count;
      ImportReport report =
          run(
              source,
              done -> {
                err.println("%d of %d records".formatted(done, all));
                err.flush();
              });
      double seconds = (System.nanoTime() - startNs) / 1e9;
      if (json) {
        out.println(report.json(dryRun, source.revision(), seconds));
      } else {
        report.print(out, dryRun);
      }
      out.flush();
      return report.complete() ? 0 : 1;
    }
  }

  private ImportReport run(ModelMeshKeyspace source, LongConsumer progress)
      throws RegistryException {
    if (dryRun && to == null) {
      return new ModelMeshImport(source, null, true, progress).run();
    }
    MeshClient.Target target = new MeshClient.Target();
    target.option = "--to";
    target.address = to == null ? target.address : to;
    target.timeoutSeconds = timeoutSeconds;
    target.tls = tls;
    try (MeshClient mesh = target.connect()) {
      try {
        return new ModelMeshImport(source, mesh, dryRun, progress).run();
      } catch (StatusRuntimeException e) {
        throw mesh.explain(e);
      }
    }
  }

  private RegistryConfig config() {
    if (timeoutSeconds < 1 || timeoutSeconds > 600) {
      throw new CommandException(
          "--timeout is " + timeoutSeconds + " seconds", "give a number from 1 to 600");
    }
    RegistryConfig d = RegistryConfig.defaults();
    try {
      return new RegistryConfig(
          etcd,
          d.root(),
          d.mesh(),
          d.leaseTtlMs(),
          timeoutSeconds * 1_000L,
          ModelMeshImport.IN_FLIGHT,
          PAGE_KEYS,
          user,
          password == null ? null : new String(password),
          new RegistryTls(trust, certificate, key, ""));
    } catch (IllegalArgumentException e) {
      throw new CommandException(
          "--etcd: " + e.getMessage(), "for example --etcd http://127.0.0.1:2379", e);
    }
  }
}
