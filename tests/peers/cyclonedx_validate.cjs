// Validates a CycloneDX 1.6 JSON document strictly with npm's @cyclonedx/cyclonedx-library.
const fs = require("fs");
const { Spec, Validation } = require("@cyclonedx/cyclonedx-library");

const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
validator.validate(fs.readFileSync(process.argv[2], "utf8")).then((error) => {
  if (error !== null) {
    console.error(JSON.stringify(error).slice(0, 2000));
    process.exit(1);
  }
  console.log("valid");
});
