package orlop.deploy;

import static com.tngtech.archunit.base.DescribedPredicate.alwaysTrue;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import java.io.StringWriter;
import java.lang.reflect.Field;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * The laws of the house. Each constant is one law, and its name is how a broken build reports it;
 * read from top to bottom they are the architecture chapter.
 */
final class ArchitectureTest {
  // 1. Arrows point down only.

  static final ArchRule CONTRACTS_IMPORT_NOTHING_OF_OURS =
      only("orlop.api..", "orlop.api..", "inference..", "mmesh..");

  static final ArchRule PULLER_IMPORTS_NOTHING_OF_OURS = only("orlop.puller..", "orlop.puller..");

  static final ArchRule PLACEMENT_IMPORTS_NOTHING_OF_OURS =
      only("orlop.placement..", "orlop.placement..");

  static final ArchRule REGISTRY_IMPORTS_PLACEMENT_AND_CONTRACTS =
      only("orlop.registry..", "orlop.registry..", "orlop.placement..", "orlop.api..");

  static final ArchRule SIMULATOR_IMPORTS_PLACEMENT_ALONE =
      only("orlop.sim..", "orlop.sim..", "orlop.placement..");

  static final ArchRule PAYLOAD_LOGGER_IMPORTS_CONTRACTS =
      only("orlop.payload..", "orlop.payload..", "orlop.api..", "inference..");

  static final ArchRule BRIDGE_IMPORTS_CONTRACTS =
      only("orlop.bridge..", "orlop.bridge..", "orlop.api..", "inference..", "mmesh..");

  static final ArchRule DRIFT_IMPORTS_CONTRACTS =
      only("orlop.drift..", "orlop.drift..", "orlop.api..", "inference..");

  static final ArchRule CONTROLLER_IMPORTS_PLACEMENT_AND_CONTRACTS =
      only(
          "orlop.controller..",
          "orlop.controller..",
          "orlop.placement..",
          "orlop.registry..",
          "orlop.api..",
          "inference..",
          "mmesh..");

  static final ArchRule RUNTIMES_IMPORT_CONTRACTS_ALONE =
      only("orlop.runtime..", "orlop.runtime..", "orlop.api..", "inference..", "mmesh..");

  static final ArchRule PODS_IMPORT_PLACEMENT_PULLER_PAYLOAD_AND_CONTRACTS =
      only(
          "orlop.pod..",
          "orlop.pod..",
          "orlop.runtime..",
          "orlop.placement..",
          "orlop.registry..",
          "orlop.puller..",
          "orlop.payload..",
          "orlop.api..",
          "inference..",
          "mmesh..");

  static final ArchRule NOTHING_THAT_SHIPS_IMPORTS_THE_SIMULATOR =
      noClasses()
          .that()
          .resideOutsideOfPackages("orlop.sim..", "orlop.deploy..", "orlop.bench..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("orlop.sim..");

  static final ArchRule NOBODY_IMPORTS_THE_COMPOSITION_ROOT =
      noClasses()
          .that()
          .resideOutsideOfPackages("orlop.deploy..", "orlop.bench..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("orlop.deploy..", "orlop.bench..");

  // 2. Each foreign library has one door.

  static final ArchRule ETCD_HAS_ONE_DOOR = door("io.etcd..", "orlop.registry..");

  static final ArchRule S3_HAS_ONE_DOOR = door("software.amazon.awssdk..", "orlop.puller..");

  static final ArchRule KUBERNETES_HAS_ONE_DOOR = door("io.fabric8..", "orlop.controller..");

  static final ArchRule ONNX_RUNTIME_AND_CUDA_HAVE_ONE_DOOR =
      noClasses()
          .that()
          .resideOutsideOfPackages("orlop.runtime..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("ai.onnxruntime..", "ai.djl..", "org.bytedeco..");

  static final ArchRule KAFKA_HAS_THREE_DOORS =
      door(
          "org.apache.kafka..",
          "orlop.payload..",
          "orlop.bridge..",
          "orlop.drift..",
          "orlop.deploy..",
          "orlop.bench..");

  // 3. The core is pure.

  static final ArchRule THE_CORE_SEES_ONLY_LANG_AND_UTIL =
      classes()
          .that()
          .resideInAPackage("orlop.placement..")
          .should()
          .onlyDependOnClassesThat()
          .resideInAnyPackage(
              "orlop.placement..",
              "java.lang",
              "java.lang.annotation",
              "java.lang.invoke",
              "java.lang.runtime",
              "java.util",
              "java.util.function",
              "java.util.stream",
              "org.jspecify.annotations");

  static final ArchRule THE_CORE_READS_NO_CLOCK_AND_NO_DICE =
      noClasses()
          .that()
          .resideInAnyPackage("orlop.placement..", "orlop.sim..")
          .should()
          .callMethod(System.class, "currentTimeMillis")
          .orShould()
          .callMethod(System.class, "nanoTime")
          .orShould()
          .callMethod(Math.class, "random")
          .orShould()
          .accessClassesThat()
          .haveFullyQualifiedName("java.util.concurrent.ThreadLocalRandom");

  // 4. The process belongs to the composition root.

  static final ArchRule ONLY_THE_COMPOSITION_ROOT_EXITS_AND_READS_THE_ENVIRONMENT =
      noClasses()
          .that()
          .resideOutsideOfPackages("orlop.deploy..", "orlop.bench..")
          .should()
          .callMethod(System.class, "exit", int.class)
          .orShould()
          .callMethod(System.class, "getenv")
          .orShould()
          .callMethod(System.class, "getenv", String.class)
          .orShould()
          .callMethod(Runtime.class, "halt", int.class);

  static final ArchRule NOBODY_HIDES_ARGUMENTS_IN_THREAD_LOCALS =
      noClasses().should().dependOnClassesThat().areAssignableTo(ThreadLocal.class);

  private static final JavaClasses HOUSE =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .withImportOption(location -> !location.contains("/test-classes/"))
          .withImportOption(location -> !location.contains("-tests.jar"))
          .importPackages("orlop");

  @TestFactory
  Stream<DynamicTest> theHouseKeepsItsLaws() {
    return laws().stream()
        .map(law -> DynamicTest.dynamicTest(law.getName(), () -> named(law).check(HOUSE)));
  }

  @Test
  void seesEveryRoom() {
    List<String> rooms =
        List.of(
            "api",
            "placement",
            "registry",
            "sim",
            "puller",
            "pod",
            "runtime",
            "payload",
            "drift",
            "bridge",
            "controller",
            "deploy");
    for (String room : rooms) {
      assertTrue(
          HOUSE.that(resideInAnyPackage("orlop." + room + "..")).size() > 0,
          "no class of orlop." + room + " was read, so its laws were not checked");
    }
    assertTrue(HOUSE.that(alwaysTrue()).size() > 100);
  }

  @Test
  void aBrokenArrowIsReportedByTheNameOfItsLaw(@TempDir Path scratch) throws Exception {
    assertBroken(
        scratch, "BRIDGE_IMPORTS_CONTRACTS", "orlop.bridge", "orlop.placement.MeshView view;");
  }

  @Test
  void aSecondDoorIsReportedByTheNameOfItsLaw(@TempDir Path scratch) throws Exception {
    assertBroken(scratch, "ETCD_HAS_ONE_DOOR", "orlop.pod", "io.etcd.jetcd.Client client;");
  }

  @Test
  void aClockInTheCoreIsReportedByTheNameOfItsLaw(@TempDir Path scratch) throws Exception {
    assertBroken(
        scratch,
        "THE_CORE_READS_NO_CLOCK_AND_NO_DICE",
        "orlop.placement",
        "long now() { return System.currentTimeMillis(); }");
  }

  @Test
  void anExitOutsideTheRootIsReportedByTheNameOfItsLaw(@TempDir Path scratch) throws Exception {
    assertBroken(
        scratch,
        "ONLY_THE_COMPOSITION_ROOT_EXITS_AND_READS_THE_ENVIRONMENT",
        "orlop.payload",
        "void stop() { System.exit(1); }");
  }

  /** Compiles one class into a scratch folder and expects exactly that law to object. */
  private static void assertBroken(Path scratch, String law, String pkg, String member)
      throws Exception {
    compile(scratch, pkg, "package %s; class Scratch { %s }".formatted(pkg, member));
    JavaClasses broken = new ClassFileImporter().importPath(scratch);
    List<String> objecting = new ArrayList<>();
    for (Field field : laws()) {
      if (named(field).allowEmptyShould(true).evaluate(broken).hasViolation()) {
        objecting.add(field.getName());
      }
    }
    assertTrue(objecting.contains(law), "objecting: " + objecting);
    ArchRule rule = named(ArchitectureTest.class.getDeclaredField(law));
    AssertionError report = assertThrows(AssertionError.class, () -> rule.check(broken));
    assertTrue(
        String.valueOf(report.getMessage())
            .contains(law.replace('_', ' ').toLowerCase(Locale.ROOT)));
  }

  private static void compile(Path out, String pkg, String source) throws Exception {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    JavaFileObject unit =
        new SimpleJavaFileObject(
            URI.create("string:///" + pkg.replace('.', '/') + "/Scratch.java"),
            JavaFileObject.Kind.SOURCE) {
          @Override
          public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return source;
          }
        };
    StringWriter messages = new StringWriter();
    boolean compiled =
        compiler
            .getTask(
                messages,
                null,
                null,
                List.of(
                    "-d",
                    out.toString(),
                    "-cp",
                    System.getProperty("java.class.path"),
                    "-proc:none"),
                null,
                List.of(unit))
            .call();
    assertEquals(true, compiled, messages.toString());
    assertTrue(Files.exists(out.resolve(pkg.replace('.', '/')).resolve("Scratch.class")));
  }

  private static List<Field> laws() {
    return Arrays.stream(ArchitectureTest.class.getDeclaredFields())
        .filter(field -> field.getType() == ArchRule.class)
        .toList();
  }

  private static ArchRule named(Field law) {
    try {
      String name = law.getName().replace('_', ' ').toLowerCase(Locale.ROOT);
      return ((ArchRule) law.get(null)).as("law: " + name).allowEmptyShould(true);
    } catch (IllegalAccessException e) {
      throw new AssertionError(e);
    }
  }

  /** Classes of {@code room} use, of ours, only what {@code allowed} names. */
  private static ArchRule only(String room, String... allowed) {
    return noClasses()
        .that()
        .resideInAPackage(room)
        .should()
        .dependOnClassesThat(
            resideInAnyPackage("orlop..", "inference..", "mmesh..")
                .and(
                    com.tngtech.archunit.base.DescribedPredicate.not(resideInAnyPackage(allowed))));
  }

  /** Classes outside {@code rooms} do not use {@code library}. */
  private static ArchRule door(String library, String... rooms) {
    return noClasses()
        .that()
        .resideOutsideOfPackages(rooms)
        .should()
        .dependOnClassesThat()
        .resideInAPackage(library);
  }
}
