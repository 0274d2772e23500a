//! The service description, rendered from the tables in [`crate::schema`].

use std::fmt::Write as _;

use crate::schema::{
    COMPLEX_TYPES, ComplexType, ENUMERATIONS, Element, ElementType, NAMESPACE, Operation,
};

const SERVICE: &str = "BrontoSoapApiImplService";
const PORT: &str = "BrontoSoapApiImplPort";
const BINDING: &str = "BrontoSoapApiImplServiceSoapBinding";
const PORT_TYPE: &str = "BrontoSoapPortType";

/// The WSDL of the served operations, with the server's own address.
pub(crate) fn render(endpoint: &str) -> String {
    let mut out = String::with_capacity(48 * 1024);
    write_document(&mut out, endpoint).expect("writing to a string can't fail");
    out
}

fn write_document(out: &mut String, endpoint: &str) -> std::fmt::Result {
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <wsdl:definitions name=\"{SERVICE}\" targetNamespace=\"{NAMESPACE}\"\n    \
         xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\"\n    \
         xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\"\n    \
         xmlns:tns=\"{NAMESPACE}\">"
    )?;
    write_types(out)?;
    write_messages(out)?;
    write_port_type(out)?;
    write_binding(out)?;
    writeln!(
        out,
        "  <wsdl:service name=\"{SERVICE}\">\n    \
         <wsdl:port name=\"{PORT}\" binding=\"tns:{BINDING}\">\n      \
         <soap:address location=\"{endpoint}\"/>\n    \
         </wsdl:port>\n  </wsdl:service>\n</wsdl:definitions>"
    )
}

fn write_types(out: &mut String) -> std::fmt::Result {
    // The schema declares its own prefixes, so that it can be taken out and used by itself.
    writeln!(
        out,
        "  <wsdl:types>\n    <xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:tns=\"{NAMESPACE}\" targetNamespace=\"{NAMESPACE}\" \
         attributeFormDefault=\"unqualified\" elementFormDefault=\"unqualified\">"
    )?;
    writeln!(
        out,
        "      <xs:element name=\"ApiException\" type=\"tns:ApiException\"/>\n      \
         <xs:element name=\"sessionHeader\" nillable=\"true\" type=\"tns:sessionHeader\"/>"
    )?;
    for name in Operation::ALL.map(Operation::name) {
        writeln!(
            out,
            "      <xs:element name=\"{name}\" type=\"tns:{name}\"/>\n      \
             <xs:element name=\"{name}Response\" type=\"tns:{name}Response\"/>"
        )?;
    }
    for complex in COMPLEX_TYPES {
        write_complex_type(out, complex)?;
    }
    for enumeration in ENUMERATIONS {
        writeln!(
            out,
            "      <xs:simpleType name=\"{}\">\n        <xs:restriction base=\"xs:string\">",
            enumeration.name
        )?;
        for value in enumeration.values {
            writeln!(out, "          <xs:enumeration value=\"{value}\"/>")?;
        }
        writeln!(out, "        </xs:restriction>\n      </xs:simpleType>")?;
    }
    writeln!(out, "    </xs:schema>\n  </wsdl:types>")
}

fn write_complex_type(out: &mut String, complex: &ComplexType) -> std::fmt::Result {
    writeln!(out, "      <xs:complexType name=\"{}\"{}>", complex.name, complex.attributes)?;
    if let Some(base) = complex.base {
        writeln!(out, "        <xs:complexContent>\n        <xs:extension base=\"tns:{base}\">")?;
    }
    writeln!(out, "        <xs:sequence>")?;
    for element in complex.elements {
        write_element(out, element)?;
    }
    writeln!(out, "        </xs:sequence>")?;
    if complex.base.is_some() {
        writeln!(out, "        </xs:extension>\n        </xs:complexContent>")?;
    }
    writeln!(out, "      </xs:complexType>")
}

fn write_element(out: &mut String, element: &Element) -> std::fmt::Result {
    let (prefix, kind) = match element.kind {
        ElementType::Xs(kind) => ("xs", kind),
        ElementType::Api(kind) => ("tns", kind),
    };
    write!(out, "          <xs:element name=\"{}\" type=\"{prefix}:{kind}\"", element.name)?;
    if !element.required {
        out.write_str(" minOccurs=\"0\"")?;
    }
    if element.repeated {
        out.write_str(" maxOccurs=\"unbounded\"")?;
    }
    if element.nillable {
        out.write_str(" nillable=\"true\"")?;
    }
    out.write_str("/>\n")
}

fn write_messages(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  <wsdl:message name=\"ApiException\">\n    \
         <wsdl:part name=\"ApiException\" element=\"tns:ApiException\"/>\n  </wsdl:message>"
    )?;
    for operation in Operation::ALL {
        let name = operation.name();
        writeln!(
            out,
            "  <wsdl:message name=\"{name}\">\n    \
             <wsdl:part name=\"parameters\" element=\"tns:{name}\"/>"
        )?;
        if operation.needs_session() {
            writeln!(out, "    <wsdl:part name=\"sessionHeader\" element=\"tns:sessionHeader\"/>")?;
        }
        writeln!(
            out,
            "  </wsdl:message>\n  <wsdl:message name=\"{name}Response\">\n    \
             <wsdl:part name=\"parameters\" element=\"tns:{name}Response\"/>\n  </wsdl:message>"
        )?;
    }
    Ok(())
}

fn write_port_type(out: &mut String) -> std::fmt::Result {
    writeln!(out, "  <wsdl:portType name=\"{PORT_TYPE}\">")?;
    for name in Operation::ALL.map(Operation::name) {
        writeln!(
            out,
            "    <wsdl:operation name=\"{name}\">\n      \
             <wsdl:input name=\"{name}\" message=\"tns:{name}\"/>\n      \
             <wsdl:output name=\"{name}Response\" message=\"tns:{name}Response\"/>\n      \
             <wsdl:fault name=\"ApiException\" message=\"tns:ApiException\"/>\n    \
             </wsdl:operation>"
        )?;
    }
    writeln!(out, "  </wsdl:portType>")
}

fn write_binding(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  <wsdl:binding name=\"{BINDING}\" type=\"tns:{PORT_TYPE}\">\n    \
         <soap:binding style=\"document\" transport=\"http://schemas.xmlsoap.org/soap/http\"/>"
    )?;
    for operation in Operation::ALL {
        let name = operation.name();
        writeln!(
            out,
            "    <wsdl:operation name=\"{name}\">\n      \
             <soap:operation soapAction=\"\" style=\"document\"/>\n      \
             <wsdl:input name=\"{name}\">"
        )?;
        // With a header, the message has two parts, so the body must say which is its own.
        let mut parts = "";
        if operation.needs_session() {
            parts = " parts=\"parameters\"";
            writeln!(
                out,
                "        <soap:header message=\"tns:{name}\" part=\"sessionHeader\" use=\"literal\"/>"
            )?;
        }
        writeln!(
            out,
            "        <soap:body{parts} use=\"literal\"/>\n      </wsdl:input>\n      \
             <wsdl:output name=\"{name}Response\">\n        <soap:body use=\"literal\"/>\n      \
             </wsdl:output>\n      <wsdl:fault name=\"ApiException\">\n        \
             <soap:fault name=\"ApiException\" use=\"literal\"/>\n      </wsdl:fault>\n    \
             </wsdl:operation>"
        )?;
    }
    writeln!(out, "  </wsdl:binding>")
}
